"""Where the films, label lists, checkpoints and published predictions are, and their digests."""

# NIH's archives: links of its own download script, MD5 as sunlabuiuc/PyHealth gives them.
NIH = "https://nihcc.box.com/shared/static/"
ARCHIVES = {
    "images_001": ("vfk49d74nhbxq3nqjg0900w5nvkorp5c", "fe8ed0a6961412fddcbb3603c11b3698"),
    "images_002": ("i28rlmbvmfjbl8p2n3ril0pptcmcu9d1", "ab07a2d7cbe6f65ddd97b4ed7bde10bf"),
    "images_003": ("f1t00wrtdk94satdfb9olcolqx20z2jp", "2301d03bde4c246388bad3876965d574"),
    "images_004": ("0aowwzs5lhjrceb3qp67ahp0rd1l1etg", "9f1b7f5aae01b13f4bc8e2c44a4b8ef6"),
    "images_005": ("v5e3goj22zr6h8tzualxfsqlqaygfbsn", "1861f3cd0ef7734df8104f2b0309023b"),
    "images_006": ("asi7ikud9jwnkrnkj99jnpfkjdes7l6l", "456b53a8b351afd92a35bc41444c58c8"),
    "images_007": ("jn1b4mw4n6lnh74ovmcjb8y48h8xj07n", "1075121ea20a137b87f290d6a4a5965e"),
    "images_008": ("tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j", "b61f34cec3aa69f295fbb593cbd9d443"),
    "images_009": ("upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj", "442a3caa61ae9b64e61c561294d1e183"),
    "images_010": ("l6nilvfa9cg3s28tqv1qc1olm3gnz54p", "09ec81c4c31e32858ad8cf965c494b74"),
    "images_011": ("hhq8fkdgvcari67vfhs7ppg2w6ni4jze", "499aefc67207a5a97692424cf5dbeed5"),
    "images_012": ("ioqwiy20ihqwyr8pf4c24eazhh281pbu", "dc9fda1757c2de0032b63347a7d2895c"),
}
ARCHIVE_SIZE = 4.3e9  # bytes, about; where a server does not say
FILMS = 112_120  # in the twelve archives
# The reference project's lists: films, patients, and films on which Data_Entry_2017_v2020.csv
# adds a finding to the labels of 2017.
REFERENCE = {
    "train": (78_468, 21_528, 127),
    "val": (11_219, 3_090, 18),
    "test": (22_433, 6_187, 36),
}
ARNOWENG = "https://github.com/arnoweng/CheXNet/raw/3d45ee77e2cfe6ec81bf1b87e2ed4e3fc10af6c1/"
PADDLE_CHEXNET = (
    "https://github.com/jm12138/Paddle-CheXNet/raw/a1859d0e9a3e372c0ef6b1e2631e0ea3e8cd02ac/"
)
XRAYVISION = "https://github.com/mlmed/torchxrayvision/raw/"
# file: (address, digest of the file as it is kept here)
LABELS = {
    "train_list.txt": (
        ARNOWENG + "ChestX-ray14/labels/train_list.txt",
        ("sha256", "332d49fb9b7a380bd25c1a54de7544ab422bdc37142459e273298a8ea2ea5c03"),
    ),
    "val_list.txt": (
        ARNOWENG + "ChestX-ray14/labels/val_list.txt",
        ("sha256", "ef239d3493893aba431c39a9aa5c57e9bc3c04cdd3df505e0754dece04cb31da"),
    ),
    "test_list.txt": (
        ARNOWENG + "ChestX-ray14/labels/test_list.txt",
        ("sha256", "4333f58bed6d26bd974d825f6ee78a48ce7f81985803c145b3e13ae0c1d8f927"),
    ),
    "Data_Entry_2017_v2020.csv": (
        XRAYVISION + "8ef884614164d54e2660947241ab0276b29526e9/"
        "torchxrayvision/data/Data_Entry_2017_v2020.csv.gz",
        ("sha256", "dc1d2df67fdc1c5a7601d48699cda2b13dc2c4841488b4183dcf04884dbaca11"),
    ),
    "BBox_List_2017.csv": (
        XRAYVISION + "f33bf84c37de6e59c1ea23a03bb7034827cc6412/"
        "torchxrayvision/BBox_List_2017.csv.gz",
        ("sha256", "0bbfea9d4c4e9771481b3023b1bc9f0df9dea924453b12986beb29b0c4d0c95b"),
    ),
}
ZOOGZOG = "https://github.com/zoogzog/chexnet/raw/bbe30b5e0d2941491a2c5a095cb572dca1d27158/"
WEIGHTS = {
    "model.pth.tar": (
        ARNOWENG + "model.pth.tar",
        ("git", "14922ae7de18767793f6ac85cf51df950327d96c"),
    ),
    "paddle_chexnet_model_torch.pdparams": (
        PADDLE_CHEXNET + "pretrained_models/model_torch.pdparams",
        ("git", "3d5512c5a1f2cc486be30f1931408ddbffd4d5bb"),
    ),
    "paddle_chexnet_model_paddle.pdparams": (
        PADDLE_CHEXNET + "pretrained_models/model_paddle.pdparams",
        ("git", "157762232cedb82c18ed4a1347b94a87fc323b5a"),
    ),
    "zoogzog_m-25012018-123527.pth.tar": (
        ZOOGZOG + "models/m-25012018-123527.pth.tar",
        ("git", "003f3dc833b89d4f0b4e2b7307d93e1761785fb7"),
    ),
}
# Of jrzech/reproduce-chexnet (BSD): what its network predicts for all films of test_list.txt.
JRZECH = "https://github.com/jrzech/reproduce-chexnet/raw/a011a9ab108cb03a533aeab52dc934b02a823ac8/"
PREDICTIONS = {
    "jrzech_predictions.csv": (
        JRZECH + "pretrained/preds.csv",
        ("git", "6fb80bbf5fee53aaaf89b89ce9947be28c870686"),
    ),
    # No digest of this one is known: its content is checked, 14 AUROCs with the published mean.
    "jrzech_aurocs.csv": (JRZECH + "pretrained/aucs.csv", None),
}
JRZECH_MEAN_AUROC = 0.83827  # made with the labels of 2020
