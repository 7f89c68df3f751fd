"""Where films are: below a data folder, or below whatever folder is given."""

import os
import unicodedata

from films.dicom import is_dicom
from runtime.files import UserError

FILM_EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")


def find_films(data_dir, names):
    """Find films below a data folder, in any of the layouts that NIH's archives unpack to.

    Args:
        data_dir: folder with the films in `images/`, in `images_0NN/images/`, or directly in it.
        names: as in a label list (see `locate_films`).

    Returns:
        List of paths, in the order of `names`.

    Raises:
        UserError: the folder or a film is missing.
    """
    paths = locate_films(data_dir, names)
    missing = [name for name in names if name not in paths]
    if missing:
        similar = similar_film(data_dir, missing[0])
        remedy = "complete the download or shorten the list"
        if similar:
            remedy = f"there is {similar!a}: write names as the files have them"
        raise UserError(
            f"{os.path.join(data_dir, 'images', missing[0])}: no such film "
            f"({len(missing)} of {len(names)} listed films are missing); {remedy}"
        )
    name_of = {}
    for name in names:
        other = name_of.setdefault(paths[name], name)
        if other != name:
            raise UserError(
                f"{paths[name]}: want each film once in a list, got it as {other} and as {name}; "
                "remove one of the two"
            )
    return [paths[name] for name in names]


def similar_film(data_dir, name):
    """Return the name of a film that differs from one that is missing in how it is written only.

    That is in its ending (.jpg for .png, or none), in upper and lower case, or in the form of its
    Unicode letters, of which macOS writes another. None if there is no such film.
    """
    folder, bare = os.path.split(name)
    there = list_films(data_dir)
    if folder:
        parents = (os.path.join(data_dir, part, folder) for part in ("", "images"))
        there = [entry for path in filter(os.path.isdir, parents) for entry in os.listdir(path)]
    found = (entry for entry in there if entry.lower().endswith(FILM_EXTENSIONS))
    return min((entry for entry in found if _stem(entry) == _stem(bare)), default=None)


def _stem(name):
    stem, ending = os.path.splitext(name)
    stem = stem if ending.lower() in FILM_EXTENSIONS else name
    return unicodedata.normalize("NFC", stem).casefold()


def locate_films(data_dir, names):
    """Return which of some films are in a data folder: dict from name to path.

    Args:
        data_dir: the data folder.
        names: bare, and looked up in all of its film folders (see `list_films`); or with folders,
            and then relative to the data folder or, if there is none, to its `images/`.

    Raises:
        UserError: the folder is missing.
    """
    bare = list_films(data_dir)
    parents = (data_dir, os.path.join(data_dir, "images"))
    paths = {}
    for name in names:
        if "/" in name:
            candidates = (os.path.join(parent, name) for parent in parents)
            path = next(filter(os.path.isfile, candidates), None)
        else:
            path = bare.get(name)
        if path is not None:
            paths[name] = path
    return paths


def list_films(data_dir):
    """Return all files in a data folder's film folders: dict from name to path (see `find_films`).

    Raises:
        UserError: the folder is missing.
    """
    if not os.path.isdir(data_dir):
        raise UserError(f"{data_dir}: no such folder of films; give it with --data-dir")
    folders = [data_dir]
    for parent in (data_dir, os.path.join(data_dir, "images")):
        if os.path.isdir(parent):
            parts = sorted(entry for entry in os.listdir(parent) if entry.startswith("images"))
            parts = [part for part in parts if not part.endswith(".tmp")]  # half unpacked
            folders += [os.path.join(parent, part) for part in parts]
            folders += [os.path.join(parent, part, "images") for part in parts]
    paths = {}
    for folder in filter(os.path.isdir, folders):
        for entry in os.listdir(folder):
            paths.setdefault(entry, os.path.join(folder, entry))
    return paths


def is_film(path):
    """Tell whether a file is a film by its name or, as DICOM files often have none, its content."""
    if os.path.basename(path).startswith("._"):  # what macOS keeps beside a file
        return False
    if path.lower().endswith(FILM_EXTENSIONS):
        return True
    if os.path.basename(path).upper() == "DICOMDIR" or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return is_dicom(file)


def films_below(paths):
    """Find films: files as they are given, and those below folders, which are gone through.

    Args:
        paths: of files and folders.

    Returns:
        dict from name to path: a file's own name, or its path below the folder, with "/"; in the
        order of the paths, and sorted within a folder.

    Raises:
        UserError: a folder has no films, two films have one name, or a name is not UTF-8.
        OSError: a folder cannot be read.
    """
    films = {}
    for path in paths:
        found = {os.path.basename(path): path}
        if os.path.isdir(path):
            of = {os.path.relpath(file, path).replace(os.sep, "/"): file for file in _files(path)}
            found = {name: of[name] for name in sorted(of) if is_film(of[name])}
        if not found:
            raise UserError(
                f"{path}: no films in this folder ({', '.join(FILM_EXTENSIONS)}); check the path"
            )
        for name in found:
            if any("\ud800" <= letter <= "\udfff" for letter in name):  # bytes that are no UTF-8
                raise UserError(f"{name!a}: the name is not UTF-8; rename the film")
            if name in films:
                raise UserError(f"{name}: want films of different names, got it twice; rename one")
        films |= found
    return films


def _files(folder):
    """Yield the files below a folder, those behind links too; each folder once."""

    def refuse(error):
        raise error

    seen = set()
    for top, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(top)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            yield os.path.join(top, name)
