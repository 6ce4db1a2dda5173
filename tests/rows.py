"""Facts about the rows of the op table that several tests use."""

from itertools import chain

#: The ops whose derivation has no formula in the indices; test_check_page.py fails if one is missing or too much.
NO_INDEX_FORM = {
    *("AvgPool2d", "Concatenate", "Conv2d", "Dropout", "Flip", "Fold", "Max", "MaxPool2d", "Min", "Pad", "Reshape"),
    *("Slice", "Stack", "Unfold"),
}


def has_elements(row):
    """Whether none of a row's inputs is empty."""
    return 0 not in chain(*row.shapes)


def smallest(rows):
    """The row with the fewest elements, of those that have any."""
    return min(filter(has_elements, rows), key=lambda row: sum(map(sum, row.shapes)))
