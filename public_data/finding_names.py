"""Which findings of another data set are which of the 14 classes.

A class that a data set does not have in `FINDINGS` is unknown on all of its films. Where a class
has a list, any of its findings makes the film positive.
docs/other_data_sets.md says which pairs are arguable, and has the links.
"""

# The labeller of Irvin et al. 2019 (arXiv 1901.07031), table 1; MIMIC-CXR-JPG ran the same one
# (Johnson et al. 2019, arXiv 1901.07042). "Lung Lesion" does not tell Mass from Nodule, and
# "Pleural Other" is more than Pleural_Thickening.
CHEXPERT = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
}

# Bustos et al. 2020 (arXiv 1901.07441): a finding stands for all below it in their tree of
# findings, but Mass, which there has masses outside the lung.
PADCHEST = {
    "Atelectasis": [
        "atelectasis",
        "total atelectasis",
        "lobar atelectasis",
        "segmental atelectasis",
        "laminar atelectasis",
        "round atelectasis",
        "atelectasis basal",
    ],
    "Cardiomegaly": ["cardiomegaly"],
    "Effusion": [
        "pleural effusion",
        "loculated pleural effusion",
        "loculated fissural effusion",
        "hydropneumothorax",
        "empyema",
        "hemothorax",
    ],
    "Infiltration": [
        "infiltrates",
        "interstitial pattern",
        "ground glass pattern",
        "reticular interstitial pattern",
        "reticulonodular interstitial pattern",
        "miliary opacities",
        "alveolar pattern",
        "consolidation",
        "air bronchogram",
    ],
    "Mass": ["mass", "pulmonary mass"],
    "Nodule": ["nodule", "multiple nodules"],
    "Pneumonia": ["pneumonia", "atypical pneumonia"],
    "Pneumothorax": ["pneumothorax", "hydropneumothorax"],
    "Consolidation": ["consolidation", "air bronchogram"],
    "Edema": ["pulmonary edema"],
    "Emphysema": ["emphysema"],  # not "subcutaneous emphysema"
    "Fibrosis": ["pulmonary fibrosis", "post radiotherapy changes", "asbestosis signs"],
    "Pleural_Thickening": [
        "pleural thickening",
        "apical pleural thickening",
        "calcified pleural thickening",
    ],
    "Hernia": ["hiatal hernia"],
}

# Nguyen et al. 2022 (arXiv 2012.15029), table 2: 22 findings and 6 diagnoses. "Nodule/Mass" does
# not tell Mass from Nodule, and Hernia is not among them.
VINDR = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural effusion",
    "Infiltration": "Infiltration",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Emphysema": "Emphysema",
    "Fibrosis": "Pulmonary fibrosis",
    "Pleural_Thickening": "Pleural thickening",
}

# The MeSH headings that people gave to the reports: Demner-Fushman et al. 2016
# (doi 10.1093/jamia/ocv080). What follows a "/" must be among a heading's qualifiers.
OPENI = {
    "Atelectasis": ["Pulmonary Atelectasis"],
    "Cardiomegaly": ["Cardiomegaly", "Cardiac Shadow/enlarged"],
    "Effusion": ["Pleural Effusion", "Hydropneumothorax"],
    "Infiltration": ["Infiltrate"],
    "Mass": ["Mass"],
    "Nodule": ["Nodule"],
    "Pneumonia": ["Pneumonia"],
    "Pneumothorax": ["Pneumothorax", "Hydropneumothorax"],
    "Consolidation": ["Consolidation"],
    "Edema": ["Pulmonary Edema"],
    "Emphysema": ["Emphysema", "Pulmonary Emphysema", "Bullous Emphysema"],
    "Fibrosis": ["Pulmonary Fibrosis"],
    "Pleural_Thickening": ["Thickening/pleura"],
    "Hernia": ["Hernia, Hiatal"],
}

FINDINGS = {
    "chexpert": CHEXPERT,
    "mimic": CHEXPERT,
    "padchest": PADCHEST,
    "vindr": VINDR,
    "openi": OPENI,
}

# NIH's names are the names of the classes, which dataset.py has.
DATA_SETS = (*FINDINGS, "nih")
