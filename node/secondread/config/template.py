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
# Keys of [node], [dicom], [tls], [inference], [packages], [retention], [monitoring], [deid] and
# [log] can be overridden by the environment, for example SECONDREAD_DICOM__PORT=11113.

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
# Without TLS; 0 closes it.
port = 11112
# At a time; max_waiting are connections that have not said who they are.
max_associations = 100
max_waiting = 128
# Silence on an association; one PDU from its first byte to its last; a TLS handshake or an
# association request.
association_timeout_s = 30.0
pdu_timeout_s = 20.0
request_timeout_s = 5.0
# The largest object, and the largest that a deflated one may become.
max_object_mib = 2048
max_inflated_mib = 512
# UIDs. Empty: every storage class of the standard. Private ones go into the second list.
sop_classes = []
extra_sop_classes = []

# DICOM over TLS on a port of its own; whoever calls there needs a certificate signed by 'ca'.
[tls]
port = 0                           # 0 is off; the usual one is 2762
certificate = ""                   # PEM files; the node reads them again when they change
key = ""
ca = ""
warn_days = 30                     # so long before a certificate ends the node begins to warn

[inference]
# How many models run at a time, and where: "cpu", "cuda", "cuda:0" …
slots = 1
device = "cpu"
# CPU threads of one model; 0 is all cores divided by the slots.
threads = 0

# Whose model packages are taken; 'secondread model verify' tells who signed one.
[packages]
require_signature = false          # true: only what one of these keys has signed
trusted_keys = []                  # PEM files of Ed25519 public keys
trust_first_party = true           # the models that come with SecondRead need no signature

# How many days files are kept here; 0 is for ever. Nothing goes that is not safe where it was sent.
[retention]
images_days = 30.0
unwanted_days = 14.0               # images of studies that no rule wanted
results_days = 90.0
reports_days = 1825.0              # later studies are compared with them
shadow_days = 90.0                 # results of rules in shadow
quarantine_days = 90.0             # what intake or the gate set aside
warn_days = 7.0                    # warn when the disk will be full in fewer days
warn_gib = 5.0                     # and when less than this is free
when_low = "warn"                  # or "purge-safe": then what is safe goes before its time
early_days = 3.0                   # but nothing that is younger than this
observations_days = 730.0          # what the ledger keeps to watch models

# How models at work are watched, for each scanner and protocol.
[monitoring]
reference = 100                    # the first studies are what the later ones are compared with
recent = 50                        # so many of the last ones
minimum = 30                       # with fewer the answer is 'too few yet'
on_drift = "warn"                  # or "pause": until a person resumes the model
reject_share = 0.5                 # share of rejected results among the last judged ones
on_rejects = "pause"               # or "warn"

# De-identified exports: the key of the crosswalk, made by 'secondread crosswalk key'.
[deid]
key_file = "/etc/secondread/crosswalk.key"
key_credential = "secondread-crosswalk"   # a systemd credential that goes before the file

[log]
level = "info"
# "json" for machines, "console" for people.
format = "json"

# The models that are switched on. Without a path: the one that comes with SecondRead.
[[models]]
id = "brain_mr"
qualification = "RESEARCH"

# Who may send. Nobody else may open an association. One block for each scanner or router.
# 'secondread peer add' writes one; changes apply while the node runs.
#
# [[peers]]
# name = "mr1"
# ae_title = "MR1"
# addresses = ["10.1.2.3"]         # one or more addresses, or networks such as "10.1.2.0/24"
# quiet_s = 30.0                   # so long after the last object the study counts as complete
# may = ["echo", "store", "commitment", "notices", "status"]   # "feedback": docs/monitoring.md
# sop_classes = []                 # UIDs; empty: all that the node takes
# transfer_syntaxes = []           # UIDs; empty: all that the node takes
# max_associations = 50            # at a time
# associations_per_hour = 0        # 0 is no limit, here and below
# objects_per_hour = 0
# gib_per_hour = 0.0
# priority_max = "medium"          # "low", "medium" or "high"
# tls = false                      # true: by TLS only
# certificate_sha256 = ""          # the fingerprint that its certificate must have
# certificate_ca = ""              # or the CA that must have signed it, a PEM file
# username = ""                    # what it must say; the hash is made by 'secondread peer edit'
# passcode_hash = ""
# host = ""                        # where the node can call it; empty: where it called from
# port = 0                         # 0: the node never calls it
#
# # When its studies are complete besides; docs/completeness.md explains each.
# [peers.complete]
# learn = false                    # learn the quiet time from its past studies
# quiet_min_s = 5.0                # a learned one is between these two
# quiet_max_s = 300.0
# percentile = 99.0                # and long enough for so many of a hundred studies
# on_release = false               # the end of the association completes a study
# counts = true                    # wait for the numbers that headers and notices announce
# ask = ""                         # one of the [[destinations]]: ask how many images it has
# wait_max_s = 3600.0              # after so long waiting ends; 0 is no limit
# at_limit = "continue"            # and the study goes on; or "hold", or "drop"

# Where results can go: usually the PACS. docs/destinations.md explains each kind.
#
# [[destinations]]
# name = "pacs"
# kind = "dicom"                   # or "stow", "folder", "sender"
# ae_title = "PACS"
# host = "10.1.2.10"
# port = 104
# calling_ae_title = "SECONDREAD"  # default: the node's own AE title
# username = ""                    # what the node says there; the passcode lies in a file
# passcode_file = ""
# timeout_s = 30.0
# attempts_max = 400               # four days; then the object waits for a person
# parallel = 1                     # associations at a time
#
# # TLS, which the table alone switches on; what is left out is taken from [tls].
# # [destinations.tls]
# # ca = "pacs-ca.pem"             # the CA of its certificate, a PEM file
# # certificate = "node.pem"       # what the node shows, and its key
# # key = "node.key"
# # certificate_sha256 = ""        # the fingerprint that its certificate must have
# # check_host = true              # its certificate must name the host
#
# # How it is proven that it has what it was sent.
# [destinations.proof]
# kind = "auto"                    # or "commitment", "read-back", "none"
# delay_s = 5.0                    # after an object was sent, before it is asked about
# wait_s = 5.0                     # for the report, on the association of the question
# report_timeout_s = 3600.0        # then a report that has not come is asked for again
# tries_max = 24                   # then the object waits for a person
#
# # In which form it wants its results; docs/destinations.md explains each.
# [destinations.results]
# segmentation = "binary"          # or "labelmap", "fractional", "none"
# fallback = ["none"]              # what goes instead if that is refused, one after the other
# compression = "none"             # or "rle", "jpeg-ls", "jpeg-2000", "deflated"
# empty_frames = false             # frames for slices without a structure, too
# one_segment_each = false         # a segmentation for each structure
# key_objects = false              # a Key Object Selection of the slices worth opening
# overlay = "none"                 # or "presentation-state", "secondary-capture"; besides
# summary = false                  # one page of pictures and numbers as a picture
# pdf = false                      # the report as PDF, too
# parametric_maps = true           # maps that the model makes
# structure_set = false            # the outlines as an RT Structure Set
# language = "en"                  # or "zh"
#
# # Another kind: a DICOMweb server.
# # [[destinations]]
# # name = "archive"
# # kind = "stow"
# # [destinations.web]
# # url = "http://10.1.2.11:8042/dicom-web"   # https:// where the server can
# # auth = "none"                    # or "basic", "bearer"
# # username = ""                    # for "basic"
# # secret_file = ""                 # the password or the token, in one line
# # ca = ""                          # for https://, as in [destinations.tls], here and below
# # certificate = ""
# # key = ""
# # over_plain_http = false          # the secret may go without TLS
# # proxy = ""                       # host:port
# # objects_max = 100                # in one request
# # mib_max = 256
# # names_study = false              # /studies/UID
#
# # Or a folder that somebody else looks into.
# # [[destinations]]
# # name = "research"
# # kind = "folder"
# # [destinations.folder]
# # path = "/mnt/research/incoming"  # must be there
# # layout = "study"                 # or "flat"
# # marker = ""                      # a file that must lie there: a share that is mounted has it
# # file_mode = "640"
#
# # Or back to whoever sent the study, at the host and port of its [[peers]].
# # [[destinations]]
# # name = "back"
# # kind = "sender"

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
# shadow = false                   # true: make results, but send them nowhere
# challenges = ""                  # in shadow: the rule to be compared with; docs/monitoring.md
# late_images = "new-input"        # new version for late images; or "any", or "never"
# versions_max = 0                 # versions that there may be of a job; 0 is no limit
# # What else must hold for one series: docs/rules.md. Try it with 'secondread rule test'.
# when = [
#   { attribute = "PatientAge", from = 3 },
#   { attribute = "MRAcquisitionType", is = "3D" },
#   { not = { attribute = "SeriesDescription", matches = "(?i)loc|scout" } },
#   { any = [
#     { attribute = "BodyPartExamined", in = ["HEAD", "BRAIN"] },
#     { attribute = "BodyPartExamined", present = false },
#   ] },
# ]
#
# # What this rule waits for; what is left out is as for the peer.
# [rules.complete]
# wait_max_s = 1800.0
#
# [[rules.complete.series]]
# name = "T1"
# when = [{ attribute = "SeriesDescription", matches = "(?i)t1" }]
#
# # What is fetched from an archive for it; docs/fetching.md.
# # [rules.fetch]
# # source = "pacs"
# # missing = false                  # what the archive has of a study and the node has not
# # priors = 0                       # earlier studies of the patient, to compare with
# # prior_days = 1825                # how far back
# # wait_s = 600.0                   # for which a report waits for them

# Who else is told what happens; docs/telling.md explains the events and the signature.
#
# [[notify]]
# name = "ris"
# kind = "webhook"                 # or "availability": a DICOM notice of where results can be had
# events = ["job-safe", "job-failed"]   # default: all
# destinations = []                # told of these alone; empty: of all
# attempts_max = 400               # failed tries; then the message is given up
# timeout_s = 30.0
# [notify.web]
# url = "http://localhost:8080/hooks/ai"   # https:// to another machine
# secret_file = "ris.secret"       # signs what is sent: openssl rand -hex 32 > ris.secret
# with_uids = false                # name study and results by UID, too
# ca = ""                          # a PEM file; empty: ca in [tls]
# proxy = ""                       # host:port
#
# # [[notify]]
# # name = "workflow"
# # kind = "availability"
# # ae_title = "WORKFLOW"
# # host = "10.1.2.30"
# # port = 104
# # calling_ae_title = ""            # empty: the node's own
# # # [notify.tls]                   # as [destinations.tls]
# # # ca = "pacs-ca.pem"

# Where others schedule work for the node (Unified Procedure Step); see docs/worklist.md.
#
# [[worklists]]
# name = "ris-work"
# kind = "dicom"                   # or "web": UPS-RS
# workitem_codes = ["110005^DCM^Interpretation"]   # value^scheme^meaning
# station_codes = []               # performers; empty: any
# source = ""                      # the destination that has the images; empty: they come
# poll_s = 15.0
# open_max = 4                     # items at a time
# wait_s = 3600.0                  # for the first image
# ae_title = "WORKLIST"
# host = "10.1.2.31"
# port = 104
# calling_ae_title = ""            # empty: the node's own
# timeout_s = 30.0
# # [worklists.tls]                # as [destinations.tls]
# # ca = "pacs-ca.pem"
#
# # [[worklists]]
# # name = "cloud-work"
# # kind = "web"
# # workitem_codes = ["110005^DCM^Interpretation"]
# # [worklists.web]
# # url = "https://ris.example/dicom-web"
# # auth = "none"                    # or "basic", "bearer"
# # username = ""
# # secret_file = ""
# # ca = ""
# # over_plain_http = false
# # proxy = ""
# # in_array = true

# Options of 'secondread export --profile NAME'; docs/crosswalk.md lists them.
#
# [[exports]]
# name = "trial7"
# options = ["modified-dates", "retain-patient", "clean-descriptors", "clean-pixels"]
# project = "trial7"               # whose pseudonyms it uses; empty: --project says it
"""


def render_template(data_dir: Path | None = None) -> str:
    """The text of a new configuration; ``data_dir`` None takes the usual place for this user."""
    folder = data_dir if data_dir is not None else usual_data_dir()
    return _TEMPLATE.replace("{data_dir}", json.dumps(str(folder), ensure_ascii=False))


def usual_data_dir() -> Path:
    """``/var/lib/secondread`` for root, the user's own data folder for anybody else."""
    if os.geteuid() == 0:
        return Path("/var/lib/secondread")
    return platformdirs.user_data_path("secondread")
