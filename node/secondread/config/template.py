"""The commented file that ``secondread config init`` writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import platformdirs

_TEMPLATE = """\
# SecondRead: the configuration of this node.
#
#   secondread config check    tells what is wrong with it, line by line
#   secondread config show     tells every value, and where it came from
#   secondread doctor          tries it out: ports, disk, models, peers
#
# A key that is left out has its default. Every key is explained in docs/configuration.md.
# Keys of [node], [dicom], [inference] and [log] can be overridden by the environment,
# for example SECONDREAD_DICOM__PORT=11113.

[node]
# The node's own AE title: what the scanners call.
ae_title = "SECONDREAD"
# The ledger, the spool and the results: a local disk, readable by the node's user only.
data_dir = {data_dir}
# Your organisation's own UID root. Empty: UIDs under 2.25.
uid_root = ""
# With less free space than this, objects are refused as 'out of resources'.
minimum_free_gib = 1.0

[dicom]
host = "0.0.0.0"
port = 11112
max_associations = 50
association_timeout_s = 30.0
max_object_mib = 2048

[inference]
# How many models run at a time, and where: "cpu", "cuda", "cuda:0" …
slots = 1
device = "cpu"
# CPU threads of one model; 0 is all cores divided by the slots.
threads = 0

[log]
level = "info"
# "json" for machines, "console" for people.
format = "json"

# The models that are switched on. Without a path: the one that comes with SecondRead.
[[models]]
id = "brain_mr"
qualification = "RESEARCH"

# Who may send. Nobody else may open an association. One block for each scanner or router.
#
# [[peers]]
# name = "mr1"
# ae_title = "MR1"
# addresses = ["10.1.2.3"]         # one or more addresses, or networks such as "10.1.2.0/24"
# quiet_s = 30.0                   # so long after the last object the study counts as complete

# Where results can go: usually the PACS.
#
# [[destinations]]
# name = "pacs"
# ae_title = "PACS"
# host = "10.1.2.10"
# port = 104
# calling_ae_title = "SECONDREAD"  # default: the node's own AE title
# timeout_s = 30.0
# attempts_max = 400               # four days; then the object waits for a person

# Which studies go to which model, and where the results go. Every rule that fits applies.
#
# [[rules]]
# name = "heads"
# model = "brain_mr"
# destinations = ["pacs"]
# peers = ["mr1"]                  # default: any
# modalities = ["MR"]              # default: any
# study_description = "(?i)head|brain"   # default: any
# priority = 0                     # higher goes first
# report_not_analysed = true       # a study that is not analysed gets a report that says why
"""


def render_template(data_dir: Path | None = None) -> str:
    """The text of a new configuration; ``data_dir`` None takes the usual place for this user."""
    folder = data_dir if data_dir is not None else usual_data_dir()
    return _TEMPLATE.format(data_dir=json.dumps(str(folder), ensure_ascii=False))


def usual_data_dir() -> Path:
    """``/var/lib/secondread`` for root, the user's own data folder for anybody else."""
    if os.geteuid() == 0:
        return Path("/var/lib/secondread")
    return platformdirs.user_data_path("secondread")
