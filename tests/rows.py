"""What several tests know of the op table."""

from itertools import chain

#: The ops of the table without a formula that holds for every element.
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
