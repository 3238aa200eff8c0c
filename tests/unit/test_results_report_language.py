from __future__ import annotations

import string
from copy import deepcopy
from dataclasses import replace

import pydicom
import pytest
from pydicom.dataset import Dataset

from secondread.bundles.output import STATISTICS
from secondread.domain.form import Form, Language
from secondread.results.analysis import Analysis
from secondread.results.context import Predecessor
from secondread.results.identity import find_differences, is_plain
from secondread.results.report import chinese, concepts
from secondread.results.report.document import COMPREHENSIVE_3D_SR_STORAGE, make_refusal_report
from secondread.results.report.language import ENGLISH_SENTENCES, choose_tongue
from tests.report_cases import (
    give,
    make_alone,
    make_rich_analysis,
    make_rich_case,
    read_alone,
    write_alone,
)

CHINESE = Form(language=Language.CHINESE)


def tell(tmp_path, **values):
    case = make_rich_case(tmp_path / "series", CHINESE)
    give(case.context.sources, **values)
    document = make_alone(case.context, make_rich_analysis(case))
    return case, document, read_alone(document, tmp_path)


def is_chinese(text):
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)


def test_everything_that_we_say_has_a_chinese_word():
    ours = [one for one in vars(concepts).values() if isinstance(one, concepts.Code)]
    assert len(ours) > 60
    for code in (*ours, *concepts.DERIVATIONS.values()):
        assert (code.scheme, code.value) in chinese.MEANINGS, code
    assert set(concepts.DERIVATIONS) | {
        "volume",
        "surface",
        "voxels",
        "longest_diameter",
        "perpendicular_diameter",
    } == set(STATISTICS)


def test_both_languages_say_the_same_sentences_about_the_same_things():
    def fields(sentence):
        return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}

    assert set(chinese.SENTENCES) == set(ENGLISH_SENTENCES)
    for name, sentence in ENGLISH_SENTENCES.items():
        assert fields(chinese.SENTENCES[name]) == fields(sentence), name


def test_chinese_has_no_byte_that_parts_values():
    for text in (*chinese.MEANINGS.values(), *chinese.SENTENCES.values()):
        for character_set in ("gb2312", "gbk", "gb18030"):
            assert b"\\" not in text.encode(character_set)


@pytest.mark.parametrize("character_set", ["ISO_IR 192", "GB18030", "GBK"])
def test_chinese_in_a_character_set_that_has_it(tmp_path, character_set):
    name = "Wang^XiaoDong=王^小东"
    case, document, report = tell(tmp_path, SpecificCharacterSet=character_set, PatientName=name)
    assert (document.language, report.language) == (Language.CHINESE, "zh")
    found = pydicom.dcmread(write_alone(document, tmp_path))
    assert found.SpecificCharacterSet == case.context.reference.SpecificCharacterSet
    assert str(found.PatientName) == name
    assert find_differences(case.context.reference, found) == ()
    assert report.title.meaning == "影像测量报告"
    group = report.groups[0]
    assert (group.finding.meaning, group.finding.value) == ("海马", "5366008")
    assert {one.derivation.meaning for one in group.quantities if one.derivation} >= {
        "均值",
        "第25百分位数",
    }
    assert "未发现:第三脑室。" in report.comments
    assert "仅供研究使用,不得用于诊断。" in report.comments
    assert any("2023年7月4日" in comment for comment in report.comments)
    assert {is_chinese(comment) for comment in report.comments} == {True}
    (age,) = next(one for one in report.groups if one.tracking_id == "toy_head image").quantities
    assert (age.name.meaning, age.unit.meaning) == ("脑龄", "year")


@pytest.mark.parametrize(
    "character_set", [None, "ISO_IR 6", "ISO_IR 100", ["", "ISO 2022 IR 58"]], ids=str
)
def test_utf8_is_declared_where_everything_copied_is_plain(tmp_path, character_set):
    values = {} if character_set is None else {"SpecificCharacterSet": character_set}
    case, document, report = tell(tmp_path, **values)
    assert report.language == "zh"
    found = pydicom.dcmread(write_alone(document, tmp_path))
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert find_differences(case.context.reference, found) == ()
    assert str(found.PatientName) == str(case.context.reference.PatientName)


def other_id(name):
    item = Dataset()
    item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID = "X-7", name, "TEXT"
    return item


@pytest.mark.parametrize(
    "values",
    [
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Ä"},
        {"SpecificCharacterSet": "ISO_IR 100", "OtherPatientIDsSequence": [other_id("Köln")]},
        {"SpecificCharacterSet": "ISO_IR 13"},
        {"SpecificCharacterSet": ["", "ISO 2022 IR 58"], "StudyDescription": "头部"},
        {"SpecificCharacterSet": "ISO_IR 144", "StudyDescription": "Голова"},
    ],
    ids=["name", "nested", "yen", "escapes", "study"],
)
def test_english_where_the_character_set_has_no_chinese(tmp_path, values):
    case, document, report = tell(tmp_path, **values)
    assert (document.language, report.language) == (Language.ENGLISH, "en")
    found = pydicom.dcmread(write_alone(document, tmp_path))
    assert found.SpecificCharacterSet == case.context.reference.SpecificCharacterSet
    assert "Not found: Third ventricle." in report.comments
    assert not is_chinese(report.title.meaning)


def test_utf8_is_no_difference_only_where_everything_copied_is_plain(tmp_path):
    case = make_rich_case(tmp_path / "series")
    source = case.context.reference
    other = deepcopy(source)
    other.SpecificCharacterSet = "ISO_IR 192"
    assert find_differences(source, other) == ()
    other.SpecificCharacterSet = "GB18030"
    assert find_differences(source, other) == ("SpecificCharacterSet",)
    give([source], SpecificCharacterSet="ISO_IR 100", PatientComments="Schädel")
    other = deepcopy(source)
    other.SpecificCharacterSet = "ISO_IR 192"
    assert not is_plain(source)
    assert "SpecificCharacterSet" in find_differences(source, other)


def test_a_refusal_in_chinese_gives_the_reason_as_it_was_given(tmp_path):
    case = make_rich_case(tmp_path / "series", CHINESE)
    context = replace(case.context, volume=None)
    document = make_refusal_report(context, "Slices are missing.")
    report = read_alone(document, tmp_path)
    assert (report.language, document.language) == ("zh", Language.CHINESE)
    assert "未分析,原因:Slices are missing." in report.comments
    assert report.completion_reason == "未分析,原因见报告中的备注。"
    assert report.summary.meaning == "未进行"


def test_a_form_in_another_language_is_another_object(tmp_path):
    case = make_rich_case(tmp_path / "series")
    english = make_alone(case.context, Analysis(case.labels))
    chinese_one = make_alone(replace(case.context, form=CHINESE), Analysis(case.labels))
    assert english.header.SOPInstanceUID != chinese_one.header.SOPInstanceUID
    assert english.header.SeriesInstanceUID != chinese_one.header.SeriesInstanceUID


def test_signs_that_the_set_lacks_fall_back_to_the_english_word(tmp_path):
    case = make_rich_case(tmp_path / "series", CHINESE)
    give(case.context.sources, SpecificCharacterSet="GBK")
    tongue = choose_tongue(case.context)
    label = case.context.manifest.labels[0]
    assert tongue.name(label) == "左侧海马"
    assert tongue.name(replace(label, meanings={"zh": "海馬\u20ac"})) == "Left hippocampus"
    assert tongue.fit("片\\片") == "片/片"


def test_another_version_of_the_model_is_named_where_it_is_replaced(tmp_path):
    case = make_rich_case(tmp_path / "series")
    study = str(case.context.reference.StudyInstanceUID)
    before = Predecessor(study, "2.25.11", COMPREHENSIVE_3D_SR_STORAGE, "2.25.12", "1.1.0")
    context = replace(case.context, predecessor=before)
    report = read_alone(make_alone(context, Analysis(case.labels)), tmp_path)
    assert any("made by version 1.1.0 of the model" in text for text in report.comments)
    same = replace(context, predecessor=replace(before, model_version="1.2.0"))
    report = read_alone(make_alone(same, Analysis(case.labels)), tmp_path)
    assert not any("1.1.0" in text for text in report.comments)
