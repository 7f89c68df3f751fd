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

# Films that are missing or do not decode in what is downloaded, as torchxrayvision 1.5.7
# (`PC_Dataset`) found; not tried here.
PADCHEST_BROKEN = {
    "216840111366964012819207061112010307142602253_04-014-084.png",
    "216840111366964012989926673512011074122523403_00-163-058.png",
    "216840111366964012959786098432011033083840143_00-176-115.png",
    "216840111366964012558082906712009327122220177_00-102-064.png",
    "216840111366964012339356563862009072111404053_00-043-192.png",
    "216840111366964013076187734852011291090445391_00-196-188.png",
    "216840111366964012373310883942009117084022290_00-064-025.png",
    "216840111366964012283393834152009033102258826_00-059-087.png",
    "216840111366964012373310883942009170084120009_00-097-074.png",
    "216840111366964012819207061112010315104455352_04-024-184.png",
    "216840111366964012819207061112010306085429121_04-020-102.png",
    "216840111366964012989926673512011083134050913_00-168-009.png",
    "216840111366964012373310883942009152114636712_00-102-045.png",
    "216840111366964012819207061112010281134410801_00-129-131.png",
    "216840111366964012487858717522009280135853083_00-075-001.png",
    "216840111366964012989926673512011151082430686_00-157-045.png",
    "216840111366964013686042548532013208193054515_02-026-007.png",
    "216840111366964013590140476722013058110301622_02-056-111.png",
    "216840111366964013590140476722013043111952381_02-065-198.png",
    "216840111366964013829543166512013353113303615_02-092-190.png",
    "216840111366964013962490064942014134093945580_01-178-104.png",
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
    "Cardiomegaly": ["Cardiomegaly", "Cardiac Shadow/enlarged", "Cardiac Shadow/borderline"],
    "Effusion": ["Pleural Effusion", "Hydropneumothorax", "Hemopneumothorax"],
    "Infiltration": ["Infiltrate"],
    "Mass": ["Mass"],
    "Nodule": ["Nodule"],
    "Pneumonia": ["Pneumonia"],
    "Pneumothorax": ["Pneumothorax", "Hydropneumothorax", "Hemopneumothorax"],
    "Consolidation": ["Consolidation"],
    "Edema": ["Pulmonary Edema"],
    "Emphysema": ["Emphysema", "Pulmonary Emphysema", "Bullous Emphysema"],
    "Fibrosis": ["Pulmonary Fibrosis", "Fibrosis/diffuse"],
    "Pleural_Thickening": ["Thickening/pleura"],
    "Hernia": ["Hernia, Hiatal", "Hernia, Diaphragmatic"],
}

# Shih et al. 2019 (doi 10.1148/ryai.2019180041): a radiologist's "lung opacity" that may be
# pneumonia, boxed.
RSNA = {"Pneumonia": "Target"}

FINDINGS = {
    "chexpert": CHEXPERT,
    "mimic": CHEXPERT,
    "padchest": PADCHEST,
    "vindr": VINDR,
    "openi": OPENI,
    "rsna": RSNA,
}

# Wang et al. 2017 (arXiv 1705.02315). The classes are these unless `CLASS_NAMES` was changed.
NIH_FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening"),
    "Hernia",
)

DATA_SETS = (*FINDINGS, "nih", "nih-adjudicated")
