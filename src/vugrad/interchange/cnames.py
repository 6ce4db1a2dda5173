"""Which names a C function can have, in C and C++, without being taken for another."""

from __future__ import annotations

import re

KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr const_cast
continue decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if
inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register
reinterpret_cast restrict return short signed sizeof static static_assert static_cast struct switch template this
thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using virtual void volatile
wchar_t while xor xor_eq
"""
#: What C's library and Unix's have functions and variables for, which other functions call by these names; and macros.
LIBRARY = """
abort accept access aligned_alloc asctime asprintf assert atexit atof atoi atol atoll bcmp bcopy bind bsearch bzero
calloc chdir chmod chown clearerr clock close connect creat ctime daemon difftime div dlopen dlsym dprintf dup dup2
environ errno execv execve execvp exit fclose fcntl fdopen feof ferror fflush fgetc fgetpos fgets fileno fopen fork
fprintf fputc fputs fread free freopen fscanf fseek fseeko fsetpos fstat fsync ftell ftello ftruncate fwrite getc
getchar getcwd getenv getline getopt getpid gets gmtime index ioctl isalnum isalpha isatty isblank iscntrl isdigit
isgraph islower isprint ispunct isspace isupper isxdigit kill labs ldiv link listen llabs lldiv localeconv localtime
longjmp lseek lstat main malloc mblen mbstowcs mbtowc memalign memchr memcmp memcpy memmem memmove mempcpy memset
mkdir mkstemp mktime mmap mprotect munmap nanosleep open opendir optarg optind pause pclose perror pipe poll popen
posix_memalign printf putc putchar putenv puts qsort raise rand random read readdir readlink realloc recv remove
rename rewind rindex rmdir sbrk scanf select send setbuf setenv setjmp setlocale setvbuf shutdown sigaction signal
sigsetjmp sleep snprintf socket sprintf srand srandom sscanf stat stderr stdin stdout stpcpy strcat strchr strcmp
strcoll strcpy strcspn strdup strerror strftime strlen strncat strncmp strncpy strndup strnlen strpbrk strrchr strsep
strspn strstr strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm symlink sysconf system tempnam time
times tmpfile tmpnam tolower toupper truncate umask uname ungetc unlink usleep va_arg va_copy va_end va_start vfprintf
vfscanf vprintf vscanf vsnprintf vsprintf vsscanf wait waitpid wcslen wcstombs wctomb write
BUFSIZ EOF FILE FILENAME_MAX FOPEN_MAX L_tmpnam NULL PTRDIFF_MAX PTRDIFF_MIN SEEK_CUR SEEK_END SEEK_SET SIZE_MAX TMP_MAX
SIG_ATOMIC_MAX SIG_ATOMIC_MIN WCHAR_MAX WCHAR_MIN WINT_MAX WINT_MIN i386 linux unix
"""
#: Functions of numbers, each of which there is for float and for long double too, with an f or an l at its end.
MATHEMATICS = """
abs acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh drem erf erfc exp exp10 exp2 expm1 fabs fdim
finite floor fma fmax fmin fmod frexp gamma hypot ilogb isinf isnan j0 j1 jn ldexp lgamma llrint llround log log10 log1p
log2 logb lrint lround modf nan nearbyint nextafter nexttoward pow remainder remquo rint round scalb scalbln scalbn
significand signgam sin sincos sinh sqrt tan tanh tgamma trunc y0 y1 yn
"""
TAKEN = {*KEYWORDS.split(), *LIBRARY.split(), *(name + end for name in MATHEMATICS.split() for end in ("", "f", "l"))}
#: What begins with an underscore is the compiler's, and what ends in _t a type, as uint64_t; INT8_MAX is a macro.
FREE = re.compile(r"(?!U?INT[A-Z0-9_]*_(C|MAX|MIN)$)[A-Za-z]\w*(?<!_t)", re.ASCII)


def is_free(name: str) -> bool:
    """Whether something new can have a name.

    >>> [is_free(name) for name in ("digits", "3d", "while", "malloc", "sinf", "uint8_t", "_x")]
    [True, False, False, False, False, False, False]
    """
    return bool(FREE.fullmatch(name)) and name not in TAKEN


def near(name: str) -> str:
    """A free name like one that is not.

    >>> near("my-net"), near("while")
    ('my_net', 'net_while')
    """
    better = re.sub(r"(_t|_)+$", "", re.sub(r"\W+", "_", name, flags=re.ASCII))
    return better if is_free(better) else f"net_{better}".rstrip("_")
