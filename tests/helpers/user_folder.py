"""A folder as a user has it who follows the pages, with phantoms in place of all films."""

import gzip
import io
import shutil

import numpy as np
from PIL import Image

from films.label_lists import CLASS_NAMES, read_label_list
from helpers.film_files import dicom
from helpers.folders import link_films
from helpers.mirror import fill

NIH = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
FINDINGS = ("Mass", "No Finding")
RADIOLOGISTS = "Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"
OBSERVATIONS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)


def names_in(data, part):
    return list(read_label_list(data / "labels" / f"{part}_list.txt")[0])


def table(header, names, row):
    """The text of a table with a row for each film; `row` takes its number, name and patient."""
    rows = [row(n, name, int(name[:8])) for n, name in enumerate(names)]
    return "".join(f"{line}\n" for line in [header, *rows])


def predictions(names, seed):
    """The text of a predictions.csv of made-up probabilities."""
    header = "Image Index," + ",".join(f"prob_{name}" for name in CLASS_NAMES)
    probs = np.random.default_rng(seed).random((len(names), 14)).astype(str)
    return table(header, names, lambda n, name, patient: f"{name},{','.join(probs[n])}")


def torch_file(form):
    """The content of a PyTorch checkpoint of random weights, in one of `FORMATS`."""
    from benchmarks.torch_densenet import lively_densenet
    from helpers.torch_checkpoints import FORMATS, rewritten, write

    change, how = FORMATS[form]
    buffer = io.BytesIO()
    write(rewritten(lively_densenet(seed=5).state_dict(), **change), buffer, **how)
    return buffer.getvalue()


def nih_tables(data):
    """NIH's tables of phantoms, by the names of their files: every other film has a Mass."""
    tested = names_in(data, "test")
    names = [*names_in(data, "train"), *names_in(data, "val"), *tested]
    return {
        "Data_Entry_2017_v2020.csv": table(
            NIH,
            names,
            lambda n, name, patient: (
                f"{name},{FINDINGS[n % 2]},0,{patient},{20 + n},{'MF'[n % 2]},PA"
            ),
        ),
        "BBox_List_2017.csv": table(
            "Image Index,Finding Label,Bbox [x,y,w,h],,,",
            tested[:2],
            lambda n, name, patient: f"{name},Mass,100,100,200,200",
        ),
    }


def fill_mirror(server, phantoms, checkpoint):
    """Put all that `prepare_data.py download` fetches on a server."""
    fill(server, phantoms)
    for name, text in nih_tables(phantoms).items():
        server.files[f"{name}.gz"] = gzip.compress(text.encode())
    aurocs = "label,auc\n" + "".join(f"{name},0.83827\n" for name in CLASS_NAMES)
    server.files |= {
        "model.pth.tar": checkpoint,
        "jrzech_predictions.csv": predictions(names_in(phantoms, "test"), 0).encode(),
        "jrzech_aurocs.csv": aurocs.encode(),
    }


def write_downloads(folder, phantoms, weights, checkpoint):
    """Write what README's rows have made: the data folder, weights, evaluations."""
    data = link_films(phantoms, folder / "ChestX-ray14")
    for name, text in nih_tables(phantoms).items():
        (data / "labels" / name).write_text(text)
    (data / "predictions").mkdir()
    names = names_in(phantoms, "test")
    (data / "predictions" / "jrzech_predictions.csv").write_text(predictions(names, 0))
    for name, part in (("result", "test"), ("val", "val")):
        (folder / name).mkdir()
        (folder / name / "predictions.csv").write_text(predictions(names_in(phantoms, part), 1))
    for name in ("pretrained_models/model_from_torch", "save/best_model"):
        (folder / name).parent.mkdir()
        shutil.copy(weights, folder / f"{name}.pdparams")
    (folder / "pretrained_models" / "model.pth.tar").write_bytes(checkpoint)


def write_own(folder, phantoms, weights, backbone):
    """Write what is the user's own by the pages, or another's: films, lists, tables, results."""
    tested = names_in(phantoms, "test")
    film = phantoms / "images" / tested[0]
    # make demo's folder, and films to predict.
    for path in ("film.png", "folder/a.png", "demo/data/images/00000211_000.png"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(film)
    grey = Image.open(film).convert("L")
    (folder / "film.dcm").write_bytes(dicom(np.asarray(grey)))
    (folder / "demo" / "save").mkdir()
    (folder / "demo" / "save" / "best_model.pdparams").symlink_to(weights)
    (folder / "densenet121.pth").write_bytes(backbone)
    # docs/data.md, "Labels of your own": films of a hospital with lists in CSV.
    own = link_films(phantoms, folder / "mine")
    for part in ("train", "val", "test"):
        names = names_in(phantoms, part)
        header = "Image Index,Patient ID,Mass,Effusion"
        text = table(
            header, names, lambda n, name, patient: f"{name},{patient},{n % 2},{n % 3 % 2}"
        )
        (folder / f"{part}.csv").write_text(text)
    (own / "test.csv").write_text(text)
    # docs/data.md, "Two splits": NIH's lists of names.
    data = folder / "ChestX-ray14"
    data.mkdir(exist_ok=True)
    others = names_in(phantoms, "train") + names_in(phantoms, "val")
    (data / "train_val_list.txt").write_text("\n".join(others))
    (data / "test_list.txt").write_text("\n".join(tested))
    # CheXpert's table and films, and Google's labels of NIH's.
    views = [f"CheXpert-v1.0/valid/patient{n}/study1/view1_frontal.jpg" for n in range(1, 5)]
    for view in views:
        (folder / view).parent.mkdir(parents=True)
        grey.save(folder / view)
    cells = [f"{n % 2}.0" for n in range(14)]
    rows = [
        f"{view},Male,40,Frontal,AP,{','.join(cells[n:] + cells[:n])}"
        for n, view in enumerate(views)
    ]
    header = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{OBSERVATIONS}"
    (folder / "CheXpert-v1.0" / "valid.csv").write_text("\n".join([header, *rows, ""]))
    answers = ("NO,NO,YES,NO,test", "NO,YES,NO,YES,test")
    text = table(
        f"{NIH},W,H,X,Y,{RADIOLOGISTS}",
        tested,
        lambda n, name, patient: f"{name},,0,{patient},40,M,AP,1,1,1,1,{answers[n % 2]}",
    )
    (folder / "google2019_nih-chest-xray-labels.csv.gz").write_bytes(gzip.compress(text.encode()))
    # docs/evaluation.md: what several networks of the user predict of the same films.
    for seed, name in enumerate(("seed0", "seed1", "seed2", "other", "a", "b")):
        (folder / name).mkdir()
        (folder / name / "predictions.csv").write_text(predictions(tested, seed))
