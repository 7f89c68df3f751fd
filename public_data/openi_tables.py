"""Open-i's Indiana collection: its own archive of reports, and Kaggle's two tables."""

import posixpath
import tarfile
import xml.etree.ElementTree
import zlib

from public_data.finding_names import OPENI
from public_data.table_rows import Film, check_once, table_rows
from runtime.files import UserError, first_line

COLUMNS = ["uid", "MeSH"]
METADATA_COLUMNS = ["uid", "filename", "projection"]
# MeSH headings of reports that say nothing of findings.
NO_FINDINGS_READ = {"no indexing", "technical quality of image unsatisfactory"}


def is_archive(path):
    """Tell whether a path is that of Open-i's own archive, by its name."""
    return str(path).endswith((".tgz", ".tar.gz", ".tar"))


def read_openi(path, metadata, others):
    """Yield the films of Open-i's Indiana collection.

    Args:
        path: of indiana_reports.csv (Kaggle's), or NLMCXR_reports.tgz (Open-i's own): films are
            then named as in NLMCXR_png.tgz.
        metadata: path of indiana_projections.csv: only there is said which films are frontal.
            None for the archive: no film of it counts as frontal.
        others: as in `table_rows`.

    Raises:
        UserError: naming the line or the report that is not as it should be.
    """
    films = {}
    for where, row in table_rows(metadata, METADATA_COLUMNS, others) if metadata else ():
        films.setdefault(row["uid"], []).append((where, row))
    if is_archive(path):
        yield from _archived_films(path, films)
        return
    reports = {}
    for where, row in table_rows(path, COLUMNS, others):
        check_once(row["uid"] not in reports, where, f"report {row['uid']}")
        reports[row["uid"]] = openi_labels(row["MeSH"].split(";"))
    for uid, rows in films.items():
        for where, row in rows:
            yield Film(where, row["filename"], uid, _frontal(row), reports.get(uid))


def _archived_films(path, films):
    """Yield the films that the reports of the archive name."""
    for where, report in _reports(path):
        uid = report.find("uId").get("id").removeprefix("CXR")
        labels = openi_labels(heading.text or "" for heading in report.findall("MeSH/major"))
        # "CXR1_1_IM-0001-3001" there is "1_IM-0001-3001.dcm.png" in Kaggle's table.
        frontal = {_series(row["filename"]): _frontal(row) for _, row in films.get(uid, [])}
        for image in report.findall("parentImage"):
            name = image.get("id")
            yield Film(where, f"{name}.png", uid, frontal.get(_series(name), False), labels)


def _reports(path):
    """Yield ("archive: file", root of the XML) of an archive."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(".xml"):
                    continue
                where = f"{path}: {posixpath.basename(member.name)}"
                root = xml.etree.ElementTree.parse(archive.extractfile(member)).getroot()
                if root.find("uId") is None or root.find("MeSH") is None:
                    raise UserError(f"{where}: no uId or MeSH; give Open-i's NLMCXR_reports.tgz")
                yield where, root
    except (tarfile.TarError, EOFError, zlib.error, xml.etree.ElementTree.ParseError) as error:
        raise UserError(
            f"{path}: want an archive of Open-i's reports, got something else "
            f"({first_line(error)}); download it again"
        ) from None


def _series(name):
    return "IM-" + name.rpartition("IM-")[2].partition(".")[0]


def _frontal(row):
    return row["projection"] == "Frontal"


def openi_labels(headings):
    """Return class -> 1, 0 or None, of headings such as "Cardiomegaly/borderline".

    What is borderline is unknown. Returns None if they say nothing.
    """
    terms = [heading.strip().lower().split("/") for heading in headings if heading.strip()]
    if {heading for heading, *_ in terms} <= NO_FINDINGS_READ:
        return None
    labels = {}
    for name, findings in OPENI.items():
        wanted = [finding.lower().split("/") for finding in findings]
        found = [term for term in terms for want in wanted if _is(term, want)]
        certain = any("borderline" not in term for term in found)
        labels[name] = 1 if certain else None if found else 0
    return labels


def _is(term, wanted):
    return term[0] == wanted[0] and set(wanted) <= set(term)
