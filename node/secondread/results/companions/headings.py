"""Headings and sentences of the key objects and of the PDF, in the languages of reports.

Those of the report itself are in its own language module; these are what is written around it. The
Chinese is in GB 2312, as that of the report is.
"""

from __future__ import annotations

from collections.abc import Mapping

from secondread.domain.form import Language
from secondread.results.context import RESEARCH_NOTICE
from secondread.results.report import chinese

_ENGLISH = {
    "results_of": "Results of {title}.",
    "no_slice": "Nothing was found that a slice would show.",
    "slice": "{number}: {names}.",
    "separator": ", ",
    "research": RESEARCH_NOTICE,
    "patient": "Patient",
    "patient_id": "ID",
    "born": "Born",
    "study_date": "Study of",
    "accession": "Accession",
    "page": "Page {number}",
    "measurements": "Measurements",
    "structure": "Structure",
    "volume": "Volume, mL",
    "usual": "Usual, mL",
    "change": "Change",
    "further": "Further measurements",
    "findings": "Findings of the model",
    "where": "Where it is",
    "picture_note": "The patient's left is on the right of the picture.",
    "making": "How it was made",
    "model": "Model",
    "model_uid": "Model's device UID",
    "node": "Node",
    "procedure": "Procedure",
    "report": "Report",
    "report_value": "made {when}, {completion}, {verification}; SOP Instance UID {uid}",
    "images": "Images",
    "images_value": "{count} in the image library",
    "marked": "marked in the images",
    "low": "low",
    "high": "high",
    "left": "left",
    "right": "right",
    "complete": "complete",
    "partial": "partial",
    "unverified": "not verified by a person",
    "verified": "verified",
}
_CHINESE = {
    "results_of": "{title} 的分析结果。",
    "no_slice": "未发现可在图像上显示的内容。",
    "slice": "{number}:{names}。",
    "separator": "、",
    "research": chinese.SENTENCES["research"],
    "patient": "患者",
    "patient_id": "编号",
    "born": "出生日期",
    "study_date": "检查日期",
    "accession": "检查号",
    "page": "第 {number} 页",
    "measurements": "测量结果",
    "structure": "结构",
    "volume": "体积,mL",
    "usual": "参考范围,mL",
    "change": "变化",
    "further": "其他测量",
    "findings": "模型所见",
    "where": "位置",
    "picture_note": "图中右侧为患者左侧。",
    "making": "生成方式",
    "model": "模型",
    "model_uid": "模型设备标识",
    "node": "节点",
    "procedure": "检查项目",
    "report": "报告",
    "report_value": "生成于 {when},{completion},{verification};SOP 实例标识 {uid}",
    "images": "图像",
    "images_value": "图像库中共 {count} 幅",
    "marked": "已在图像上标记",
    "low": "偏低",
    "high": "偏高",
    "left": "左",
    "right": "右",
    "complete": "完整",
    "partial": "不完整",
    "unverified": "未经人工核实",
    "verified": "已核实",
}
HEADINGS: Mapping[Language, Mapping[str, str]] = {
    Language.ENGLISH: _ENGLISH,
    Language.CHINESE: _CHINESE,
}


def say(language: Language, name: str, **values: object) -> str:
    """One of the texts above, with what belongs into it."""
    return HEADINGS[language][name].format(**values)
