"""Shares of intervals that hold the truth, from what coverage.py found, as a table."""

import numpy as np

from films.csv_rows import write_rows

SIZES = (100, 300, 700, 2000)  # patients
ANY = -1  # patients of a figure that is given for any number of them
RANGES = {"10 and more": (10, np.inf), "3 to 9": (3, 9), "any": (ANY, ANY)}


def cells_of(rows, size, one_film):
    """Return list of dicts, one for each figure, class and range of patients."""
    cells = []
    for figure, values in rows.items():
        for k in range(values.shape[1]):
            for words, (least, most) in RANGES.items():
                patients, low, high, truth = values[:, k].T
                inside = (patients >= least) & (patients <= most)
                if inside.mean() < 0.5:
                    continue
                low, high, truth = low[inside], high[inside], truth[inside]
                if np.isnan(high).all():  # p-values
                    known = ~np.isnan(low)
                    shares = {"rejected": (low[known] < 0.05).mean() if known.any() else np.nan}
                else:
                    given = ~np.isnan(low)
                    below, above = (truth < low).mean(), (truth > high).mean()
                    shares = {
                        "coverage": given.mean() - below - above,
                        "below": below,
                        "above": above,
                        "width": np.median((high - low)[given]) if given.any() else np.nan,
                    }
                cells.append(
                    {"figure": figure, "class": k, "patients": size, "one film": one_film}
                    | {"with finding": words, "samples": int(inside.sum())}
                    | shares
                )
    return cells


def print_table(cells, samples):
    """Print a row for each figure and range of patients, a column for each kind of sample."""
    kinds = [(size, one_film) for one_film in (False, True) for size in SIZES]
    heads = [f"{size:,}{', one film each' if one_film else ''}" for size, one_film in kinds]
    print(
        f"{samples} samples of each size and kind. Coverage, mean of the classes (least to most); "
        "how often the truth was below and above; median width. Of p-values: rejected at 0.05.\n"
    )
    print(f"| figure | patients with the finding | {' | '.join(heads)} |\n|{'---|' * 10}")
    groups = {}
    for cell in cells:
        groups.setdefault((cell["figure"], cell["with finding"]), []).append(cell)
    for (figure, words), inside in groups.items():
        columns = []
        for size, one_film in kinds:
            of_kind = [c for c in inside if (c["patients"], c["one film"]) == (size, one_film)]
            columns.append(summary(of_kind))
        print(f"| {figure} | {words} | {' | '.join(columns)} |")


def summary(cells):
    """Return what classes have in one kind of sample, as text."""
    if not cells:
        return ""
    if "rejected" in cells[0]:
        return spread([cell["rejected"] for cell in cells])
    keys = ("below", "above", "width")
    below, above, width = (np.mean([cell[key] for cell in cells]) for key in keys)
    return f"{spread([c['coverage'] for c in cells])}; {below:.2f}, {above:.2f}; {width:.3f}"


def spread(shares):
    """Return the mean of some shares, and the least and the most if there are several."""
    several = f" ({min(shares):.2f} to {max(shares):.2f})" if len(shares) > 1 else ""
    return f"{np.mean(shares):.2f}{several}"


def write_cells(path, cells):
    columns = ["figure", "class", "patients", "one film", "with finding", "samples"]
    columns += ["coverage", "below", "above", "width", "rejected"]
    rows = ([cell.get(column, "") for column in columns] for cell in cells)
    write_rows(path, columns, rows)
