"""Tables as data sets publish them, with invented people, and what `labels` makes of them."""

import csv

from films.label_lists import CLASS_NAMES
from public_data.convert_labels import write_label_csv

OBSERVATIONS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)
CHEXPERT = f"""\
Path,Sex,Age,Frontal/Lateral,AP/PA,{OBSERVATIONS}
CheXpert-v1.0/train/patient90001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,,1.0,,,-1.0,,0.0,,,,,,1.0
CheXpert-v1.0/train/patient90001/study1/view2_lateral.jpg,Female,68,Lateral,,,,1.0,,,-1.0,,0.0,,,,,,1.0
CheXpert-v1.0/train/patient90002/study1/view1_frontal.jpg,Male,31,Frontal,PA,1.0,,,,,,,,,,,,,
"""
MIMIC = """\
subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,\
Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,\
Pneumothorax,Support Devices
19000001,59000001,,,-1.0,,,,,1.0,,1.0,,0.0,,
"""
MIMIC_METADATA = """\
dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,\
StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,\
PatientOrientationCodeSequence_CodeMeaning
aaaaaaaa-bbbbbbbb,19000001,59000001,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,CHEST \
(PA AND LAT),postero-anterior,Erect
cccccccc-dddddddd,19000001,59000001,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.531,CHEST \
(PA AND LAT),lateral,Erect
eeeeeeee-ffffffff,19000002,59000009,CHEST (PORTABLE AP),AP,2828,2320,21800626,165500.312,CHEST \
(PORTABLE AP),antero-posterior,
"""
PADCHEST_HEADER = """\
,ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,\
ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,\
PhotometricInterpretation_DICOM,PixelRepresentation_DICOM,PixelAspectRatio_DICOM,\
SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,\
Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,\
RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,\
LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS
"""
PADCHEST_FILMS = [
    ("1_a.png", "0", "P1", "PA", "['laminar atelectasis', ' pneumonia', 'subcutaneous emphysema']"),
    ("2_b.png", "54", "P2", "AP_horizontal", "['unchanged', 'hiatal hernia']"),
    ("3_c.png", "54", "P2", "L", "['normal']"),
    ("4_d.png", "7", "P3", "PA", "['exclude']"),
    ("5_e.png", "7", "P3", "AP", ""),
    ("6_f.png", "7", "P4", "AP", "['consolidation', 'mediastinal mass', 'hydropneumothorax']"),
]
PADCHEST = PADCHEST_HEADER + "".join(
    f"{n},{film},{folder},20150101,S{n},{person},1950.0,F,,{view},Manual review of DICOM fields,No,"
    "DX,PhilipsMedicalSystems,MONOCHROME2,0,None,0.148,12,2047.5,4095,2279,2778,None,1,1200,5,369,"
    f'{n}," sin hallazg .",Physician,"{labels}",[],"[[\'normal\']]",[],[]\n'
    for n, (film, folder, person, view, labels) in enumerate(PADCHEST_FILMS)
)
VINDR_LABELS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,"
    "Edema,Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,"
    "Mediastinal shift,Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,"
    "Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,Tuberculosis"
)
# Atelectasis, Cardiomegaly and Pulmonary fibrosis get 1, 2 and 3 of three votes.
VINDR_TRAIN = f"""\
image_id,rad_id,{VINDR_LABELS},Other diseases,No finding
00aa,R1,0,1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0
00aa,R2,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,1,0,0,0,0,0,0,0,0
00aa,R3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,1,0,0,0,0,0,0,0,0
"""
VINDR_TEST = f"""\
image_id,{VINDR_LABELS},Other disease,No finding
00bb,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0
"""
OPENI = """\
uid,MeSH,Problems,image,indication,comparison,findings,impression
9001,normal,normal,"Xray Chest PA and Lateral",,None.,Clear.,Normal chest.
9002,"Cardiomegaly/borderline;Thickening/pleura/apex/bilateral;Hernia, Hiatal/large;Opacity/lung",\
"Cardiomegaly;Thickening;Hernia, Hiatal;Opacity",PA and lateral,,,,
9003,No Indexing,No Indexing,,,,,
9004,Cardiac Shadow/enlarged;Thickening/bronchovascular,Cardiac Shadow;Thickening,,,,,
"""
OPENI_METADATA = """\
uid,filename,projection
9001,9001_IM-0001-4001.dcm.png,Frontal
9001,9001_IM-0001-3001.dcm.png,Lateral
9002,9002_IM-0002-1001.dcm.png,Frontal
9003,9003_IM-0003-1001.dcm.png,Frontal
9004,9004_IM-0004-1001.dcm.png,Frontal
"""
NIH = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]
00090001_000.png,Cardiomegaly|Pleural_Thickening,0,90001,57,M,PA,2682,2749,0.143,0.143
00090001_001.png,No Finding,1,90001,58,M,AP,2894,2729,0.143,0.143
"""
VINDR_BOXES = """\
image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
00cc,Cardiomegaly,3,R8,691.0,1375.0,1653.0,1831.0
00cc,Cardiomegaly,3,R9,690.0,1370.0,1650.0,1830.0
00cc,Atelectasis,1,R9,100.0,100.0,200.0,200.0
00cc,Atelectasis,1,R9,300.0,100.0,400.0,200.0
00cc,No finding,14,R10,,,,
"""
RSNA = """\
patientId,x,y,width,height,Target
90aa-01,,,,,0
90aa-02,264.0,152.0,213.0,379.0,1
90aa-02,562.0,152.0,256.0,453.0,1
"""
RSNA_NAMES = [
    {"subset_img_id": "90aa-01", "img_id": "00090001_000.png", "orig_labels": ["Mass"]},
    {"subset_img_id": "90aa-02", "img_id": "00090002_003.png", "orig_labels": ["Pneumonia"]},
]
ADJUDICATED = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],Fracture,Pneumothorax,\
Airspace opacity,Nodule or mass,Set Id
00090013_008.png,Pneumothorax,8,90013,60,M,AP,3056,2544,0.139,0.139,NO,NO,YES,NO,test
00090013_026.png,No Finding,26,90013,57,M,AP,2500,2048,0.168,0.168,NO,YES,NO,YES,test
""".replace("OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]", "W,H,X,Y")


def converted(
    folder, data_set, text, metadata=None, unmentioned=None, all_views=False, flat=False, **rest
):
    """Write a table, convert it, and return the header and the lines of the label list."""
    (folder / "table.csv").write_text(text)
    second = None
    if metadata is not None:
        second = folder / "metadata.csv"
        second.write_text(metadata)
    output, table = folder / "list.csv", folder / "table.csv"
    write_label_csv(data_set, table, output, second, unmentioned, all_views, flat, **rest)
    with open(output, newline="") as file:
        return list(csv.reader(file))


def findings(header, row):
    """The classes that a line calls present, and those that it leaves unknown."""
    cells = dict(zip(header, row, strict=True))
    present = {name for name in CLASS_NAMES if cells.get(name) == "1"}
    return present, {name for name in CLASS_NAMES if cells.get(name) == ""}
