"""What is known of the data behind figures: by the digest of the list, or said by the folder."""

import os

from films.label_lists import read_labels
from public_data.folder_check import OFFICIAL, names_digest
from public_data.sources import LABELS
from runtime.files import UserError, sha256

# Beside the lists: a line or two of text that say what the films are. The page shows it.
SOURCE_FILE = "SOURCE.txt"
MOST = 1000  # characters


def describe_data(test_list, folder):
    """Tell what is known of the films and labels of a list.

    Args:
        test_list: path of the label list.
        folder: where a `SOURCE_FILE` may be.

    Returns:
        dict for JSON: "source", the folder's own words, or None; "list": "reference" for the
        reference project's test list, on whose films and labels figures are published, "NIH" for
        the films of NIH's own test list, whatever their labels, or None. A folder with words of
        its own is taken at them: its list says nothing more.

    Raises:
        UserError: the folder's words are no text, or the list is broken.
    """
    names = read_labels(test_list).names  # first: a list that is not there is told
    source = _own_words(os.path.join(folder, SOURCE_FILE))
    digest, known = sha256(test_list), None
    if digest == LABELS["test_list.txt"][1][1]:
        known = "reference"
    elif names_digest(names) == OFFICIAL["test"]:
        known = "NIH"
    return {"source": source, "list": None if source else known}


def _own_words(path):
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            words = " ".join(file.read(MOST + 1).split())
    except UnicodeDecodeError:
        words = ""
    if not 0 < len(words) <= MOST:
        raise UserError(
            f"{path}: want up to {MOST} characters of text that say what the films are, got "
            "something else; write them, or remove the file"
        )
    return words
