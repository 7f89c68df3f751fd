"""The one reader and the one writer of CSV files."""

import contextlib
import csv
import gzip
import io
import zipfile
import zlib

from runtime.files import UserError, first_line, refuse_placeholder, write_whole

# Spreadsheets of many countries write the first; both look like a table with a single column.
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}

DAMAGED = (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error)


@contextlib.contextmanager
def open_table(path):
    """Open a CSV file as text: plain, in gzip (.gz), or the only one in a .zip.

    Raises:
        UserError: what is read is no text, or the archive is damaged.
    """
    refuse_placeholder(path)
    try:
        with contextlib.ExitStack() as stack:
            if str(path).endswith(".gz"):
                file = stack.enter_context(gzip.open(path))
            elif str(path).endswith(".zip"):
                file = stack.enter_context(_only_table(path, zipfile.ZipFile(path)))
            else:
                file = stack.enter_context(open(path, "rb"))
            yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: want a table as CSV in UTF-8, got bytes that are not ({first_line(error)}); "
            "save it again (in a spreadsheet: CSV UTF-8), or download it again"
        ) from None
    except (EOFError, *DAMAGED) as error:
        raise UserError(
            f"{path}: want a table as CSV, got something else ({first_line(error)}); "
            "download it again"
        ) from None


def _only_table(path, archive):
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        raise UserError(
            f"{path}: want one CSV file in the archive, got {len(names)}; unpack it and name one"
        )
    return archive.open(names[0])


def csv_rows(path, file, remedy):
    """Yield ("file:line", list of cells without spaces around) of each row that is not empty.

    The first is the header; the others have as many cells.

    Args:
        path: of the file, for messages.
        file: text file, or any iterable of lines.
        remedy: what to do where a row is not as it should be: "correct the row".

    Raises:
        UserError: naming the row.
    """
    header, reader = None, csv.reader(file, strict=True)
    try:
        for row in filter(None, reader):
            where, cells = f"{path}:{reader.line_num}", [cell.strip() for cell in row]
            if header is None:
                # NIH's list of boxes ends its header, and only that, with three empty cells.
                header = _without_empty_end(cells, 1)
                _check_separator(where, header)
            cells = _without_empty_end(cells, len(header))
            if len(cells) != len(header):
                raise UserError(f"{where}: want {len(header)} cells, got {len(cells)}; {remedy}")
            yield where, cells
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: want a row of a CSV file, got something else "
            f"({first_line(error)}); {remedy}"
        ) from None


def _without_empty_end(cells, least):
    while len(cells) > least and not cells[-1]:
        cells = cells[:-1]
    return cells


def _check_separator(where, header):
    for separator, name in OTHER_SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise UserError(
                f"{where}: want cells separated by commas, got {name}; save the table as CSV with "
                "commas"
            )


def write_rows(path, columns, rows):
    """Write a CSV file, whole.

    Args:
        path: of the file.
        columns: the header.
        rows: iterable of as many cells each.
    """
    with write_whole(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
