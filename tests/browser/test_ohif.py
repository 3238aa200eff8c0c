"""Results in OHIF, in a real browser, out of a real PACS: are the colours where they should be?

Screenshots are kept in ``out/browser`` to be looked at.
"""

from __future__ import annotations

import io
import json
import shutil
import urllib.request
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from deploy.demo import pacs as demo_pacs
from secondread.domain.form import Compression, Form, SegmentationKind
from tests.browser.scene import SIZE, Scene, write_scene
from tests.browser.viewer import Viewer
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILES = REPOSITORY / "build" / "ohif" / "dist"
PICTURES = REPOSITORY / "out" / "browser"
BROWSER_OPTIONS = (
    "--no-sandbox --disable-dev-shm-usage --use-gl=angle --use-angle=swiftshader "
    "--enable-unsafe-swiftshader --ignore-gpu-blocklist --disable-background-networking "
    "--disable-component-update --disable-sync --no-first-run"
).split()
WAIT_MS = 120_000
DRAWING_LOOKS = 10
LOOKS = 15
THUMBNAIL = "[data-cy^='study-browser-thumbnail']"
# What the viewer shows, and where: its own functions give the canvas pixel of a point in space.
SHOWN = """() => {
  const {viewport} = cornerstone.getEnabledElements()[0];
  const sop = cornerstone.metaData.get('sopCommonModule', viewport.getCurrentImageId());
  return {uid: sop.sopInstanceUID, count: viewport.getImageIds().length};
}"""
PLACE = """points => {
  const {viewport} = cornerstone.getEnabledElements()[0];
  const box = viewport.canvas.getBoundingClientRect();
  return points.map(point => {
    const [x, y] = viewport.worldToCanvas(point);
    return [box.left + x, box.top + y];
  });
}"""
GO_TO = "index => cornerstone.getEnabledElements()[0].viewport.setImageIdIndex(index)"
DRAWINGS = "cornerstoneTools.annotation.state.getAllAnnotations().length"
NO_TOUR = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"
DRAWN = "() => cornerstone.getEnabledElements()[0]?.viewport.getActors().length > 1"
FORMS = {
    "binary": Form(segmentation=SegmentationKind.BINARY),
    "labelmap": Form(segmentation=SegmentationKind.LABELMAP),
    "labelmap-jpeg-ls": Form(
        segmentation=SegmentationKind.LABELMAP, compression=Compression.JPEG_LS
    ),
}
_KINDS = {0: "grey", 1: "red", 2: "green", 3: "blue"}


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Debian's Chromium, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: install [browser]")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium: install the package chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=BROWSER_OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Iterator[tuple[demo_pacs.OrthancPacs, Viewer]]:
    """A PACS with DICOMweb, and the viewer in front of it."""
    program = demo_pacs.orthanc_program()
    if program is None:
        pytest.skip("no Orthanc: install the package orthanc")
    if not demo_pacs.DICOMWEB_PLUGIN.exists():
        pytest.skip("Orthanc without DICOMweb: install the package orthanc-dicomweb")
    if not (FILES / "index.html").is_file():
        pytest.skip("no OHIF: run deploy/setup/viewer.sh, which needs npm")
    pacs = demo_pacs.OrthancPacs(
        program,
        tmp_path_factory.mktemp("orthanc"),
        ("X",),
        dicomweb=demo_pacs.DICOMWEB_PLUGIN,
    )
    viewer = Viewer(FILES, pacs.http_port)
    yield pacs, viewer
    viewer.close()
    pacs.close()


def put(pacs: demo_pacs.OrthancPacs, scene: Scene) -> None:
    for path in (*scene.sources, *scene.results):
        request = urllib.request.Request(
            f"http://127.0.0.1:{pacs.http_port}/instances", data=path.read_bytes(), method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            assert json.loads(answer.read())["Status"] == "Success"


def open_study(browser, viewer: Viewer, scene: Scene):
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.add_init_script(NO_TOUR)
    page.goto(f"{viewer.address}/viewer?StudyInstanceUIDs={scene.study_instance_uid}")
    page.locator(THUMBNAIL).nth(len(scene.results)).wait_for(timeout=WAIT_MS)
    page.wait_for_function("() => cornerstone.getEnabledElements().length > 0", timeout=WAIT_MS)
    page.wait_for_timeout(2000)
    return page


def load_segmentation(page) -> None:
    page.locator(THUMBNAIL).filter(has_text="segmentation").dblclick()
    page.get_by_role("button", name="Yes").click(timeout=WAIT_MS)
    page.wait_for_function(DRAWN, timeout=WAIT_MS)
    page.wait_for_timeout(2000)


def show(page, scene: Scene, place: int) -> None:
    """Go to a slice of the volume, whichever way the viewer counts them."""
    for index in (place, SIZE[0] - 1 - place):
        page.evaluate(GO_TO, index)
        page.wait_for_timeout(1500)
        shown = page.evaluate(SHOWN)
        assert shown["count"] == SIZE[0]
        if scene.by_instance[shown["uid"]] == place:
            return
    raise AssertionError("The viewer does not show this slice under either number.")


def look_at(page, scene: Scene, place: int, name: str):
    """What colour each voxel of a slice has on the screen, ``(row, column)``, as in ``_KINDS``."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    content = page.screenshot(path=PICTURES / f"{name}-slice-{place + 1}.png")
    screen = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    rows, columns = SIZE[1:]
    # Without the border: what a viewer writes into its corners lies over it.
    at = [(row, column) for row in range(3, rows - 3) for column in range(4, columns - 4)]
    points = [(scene.affine_lps @ (place, row, column, 1.0))[:3].tolist() for row, column in at]
    seen = np.full((rows, columns), -1)
    for (row, column), (x, y) in zip(at, page.evaluate(PLACE, points), strict=True):
        if not (0 <= y < screen.shape[0] and 0 <= x < screen.shape[1]):
            continue
        pixel = screen[round(y), round(x)]
        strongest = int(np.argmax(pixel))
        others = np.delete(pixel, strongest)
        seen[row, column] = strongest + 1 if pixel[strongest] - others.max() > 25 else 0
    return seen


def find_faults(seen, expected) -> Counter[str]:
    """How many voxels have the colour of something else."""
    looked_at = seen >= 0
    assert looked_at.mean() > 0.6
    for value in np.unique(expected):
        assert (looked_at & (expected == value)).any()
    wrong = looked_at & (seen != expected)
    pairs = zip(expected[wrong].tolist(), seen[wrong].tolist(), strict=True)
    return Counter(f"{_KINDS[should]} seen as {_KINDS[is_]}" for should, is_ in pairs)


def check(page, scene: Scene, place: int, name: str, expected) -> None:
    """A slice shows what is expected, as soon as the viewer has drawn it."""
    show(page, scene, place)
    for _ in range(LOOKS):
        faults = find_faults(look_at(page, scene, place, name), expected)
        if not faults:
            return
        page.wait_for_timeout(1000)
    assert not faults


@pytest.mark.parametrize("name", FORMS)
def test_colours_are_on_their_voxels_in_every_slice(browser, hospital, tmp_path, name):
    pacs, viewer = hospital
    scene = write_scene(tmp_path, FORMS[name], f"OHIF-{name}")
    put(pacs, scene)
    page = open_study(browser, viewer, scene)
    bare = np.zeros(SIZE[1:], int)
    check(page, scene, 0, f"{name}-before", bare)
    load_segmentation(page)
    for place in (0, SIZE[0] // 2, SIZE[0] - 1):
        check(page, scene, place, name, scene.labels[place])
        # The same picture, and what it would be if it were mirrored or on the next slice.
        seen = look_at(page, scene, place, name)
        assert find_faults(seen, scene.labels[place][:, ::-1])
        assert find_faults(seen, scene.labels[place - 1])
    page.close()


def test_the_report_is_listed_and_its_measurements_are_drawn(browser, hospital, tmp_path):
    pacs, viewer = hospital
    scene = write_scene(tmp_path, Form(), "OHIF-REPORT")
    put(pacs, scene)
    page = open_study(browser, viewer, scene)
    report = page.locator(THUMBNAIL).filter(has_text="measurements")
    assert "SR" in report.inner_text()
    assert "[RESEARCH]" in report.inner_text()
    report.dblclick()
    structures = np.unique(scene.labels[scene.labels > 0]).size
    # Of each structure its diameters, and a point with all that is known of it.
    page.wait_for_function(f"{DRAWINGS} >= {2 * structures}", timeout=WAIT_MS)
    PICTURES.mkdir(parents=True, exist_ok=True)
    # On a busy machine the lines are on the screen some time after they are in the page.
    for _ in range(DRAWING_LOOKS):
        page.wait_for_timeout(2000)
        if (yellow := count_yellow(page.screenshot(path=PICTURES / "report.png"))) > 100:
            break
    assert page.get_by_text("Something went wrong").count() == 0
    assert yellow > 100
    page.close()


def count_yellow(picture):
    """Pixels in the colour in which OHIF draws measurements."""
    screen = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    return ((screen[..., 0] > 150) & (screen[..., 1] > 150) & (screen[..., 2] < 90)).sum()
