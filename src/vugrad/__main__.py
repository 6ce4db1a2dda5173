"""``python -m vugrad``, the command."""

from vugrad.cli import main

if __name__ == "__main__":
    main()
