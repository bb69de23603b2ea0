"""The report page: the words of its verdict, the images it picks, and that it stands alone."""

import base64
import io
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.errors import DataError
from maskwright.metrics.bootstrap import bootstrap, change
from maskwright.metrics.boundary import TRIMAP_SHARE, BoundaryScores
from maskwright.metrics.boundary_meter import BoundaryMeter
from maskwright.metrics.confusion import EvaluationMeter
from maskwright.report import (
    Convention,
    Curve,
    Picture,
    Report,
    Stage,
    Strip,
    figures,
    gallery,
    page,
    pictures,
    tables,
    write_report,
)

SIDE = 20
BINARY = ("background", "pet")
NASTY = """<script>alert("x")</script> & 'quotes' $\\frac$"""


def stage(name: str, shares: list[float], *, prefix: str = "image") -> Stage:
    """A binary stage whose image i has IoU `shares[i]`: the truth is everything, the mask covers that share of it."""
    meter = EvaluationMeter(BINARY)
    truth = np.ones((SIDE, SIDE), np.uint8)
    for number, share in enumerate(shares):
        meter.update(f"{prefix}_{number}", covering(share), truth)
    return Stage(name=name, result=meter.result())


def covering(share: float) -> np.ndarray:
    mask = np.zeros(SIDE * SIDE, np.uint8)
    mask[: round(share * mask.size)] = 1
    return mask.reshape(SIDE, SIDE)


def picture(name: str = "", *, truth: bool = True) -> Picture:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    masks = {"coarse": covering(0.5), "CSPN": covering(0.8), "DySPN": covering(0.7)}
    return Picture(image=image, truth=np.ones((SIDE, SIDE), np.uint8) if truth else None, masks=masks)


def edge_stage(name: str, grown: int, *, images: int = 31, strip: bool = False) -> Stage:
    """A binary stage whose masks are a square, `grown` pixels too large; `strip` hides the edge of every other one."""
    meter = BoundaryMeter(BINARY)
    for number in range(images):
        truth, mask = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
        if strip and number % 2:
            truth[8:32, 8:32] = 255
        truth[10:30, 10:30] = 1
        side = 30 + grown * (number % 4)
        mask[10:side, 10:side] = 1
        meter.update(f"image_{number}", mask, truth)
    return Stage(name=name, result=meter.result())


BEFORE = [0.50 + 0.01 * (i % 7) for i in range(42)]
COARSE = stage("coarse", BEFORE)
IMPROVED = stage("CSPN", [iou + 0.10 + 0.02 * (i % 3) for i, iou in enumerate(BEFORE)])
HARMED = stage("DySPN", [iou - 0.10 - 0.02 * (i % 3) for i, iou in enumerate(BEFORE)])
UNCHANGED = stage("gate", [iou + (0.05 if i % 2 else -0.05) for i, iou in enumerate(BEFORE)])


def report(*stages: Stage) -> Report:
    return Report(
        title="A title",
        summary_subject="42 test images",
        commands=("maskwright demo --seed 0",),
        facts={"Seed": "0"},
        curves=(
            Curve(name="coarse", train_loss=(0.9, 0.5), val_score=(0.4, float("nan"), 0.6), val_name="IoU"),
            Curve(name="unrecorded", train_loss=(), val_score=(), val_name="IoU"),
        ),
        stages=stages,
        strips=(Strip(name="strip", picture=picture(), steps={"CSPN": [covering(0.5), covering(0.6), covering(0.8)]}),),
        pictures=picture,
    )


class References(HTMLParser):
    """Collects everything that would make a browser fetch something, and the text that it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_needs_nothing_but_itself() -> None:
    html = page.render(report(COARSE, IMPROVED, HARMED))
    seen = References(html)
    assert any(url.startswith("data:image/png;base64,") for url in seen.urls)
    assert all(url.startswith(("data:image/", "#")) for url in seen.urls)
    assert not {"script", "link", "iframe", "object"} & set(seen.tags)
    assert not re.search(r"https?:|file:|@import|url\((?!#)", html)


def test_page_fits_a_phone_and_both_colour_schemes() -> None:
    html = page.render(report(COARSE, IMPROVED))
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_plots_take_the_page_colours_and_have_unique_or_no_ids() -> None:
    svg = str(figures.change_histogram(np.array([-0.2, 0.0, 0.3])))
    assert "var(--better)" in svg and "var(--worse)" in svg and "var(--same)" in svg
    assert not re.search(r"#00000[1-6]", svg)
    assert "<style" not in svg
    assert all(f"#{name}" in svg for name in re.findall(r' id="([^"]*)"', svg))


def test_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, report(COARSE, IMPROVED))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_every_name_is_escaped() -> None:
    nasty = stage(NASTY, [iou + 0.1 for iou in BEFORE], prefix=NASTY)
    coarse = stage("coarse", BEFORE, prefix=NASTY)
    classes = ("background", NASTY, "third")
    meter = EvaluationMeter(classes)
    meter.update(NASTY, covering(0.5), covering(0.6))
    nasty_classes = Stage(name="other classes", result=meter.result())
    curve = Curve(name=NASTY, train_loss=(1.0,), val_score=(0.5,), val_name=NASTY)
    whole = replace(
        report(coarse, nasty, nasty_classes),
        title=NASTY,
        summary_subject=NASTY,
        commands=(NASTY,),
        facts={NASTY: NASTY},
        curves=(curve,),
        strips=(Strip(name=NASTY, picture=picture(), steps={NASTY: [covering(0.5)]}),),
        notes=(NASTY,),
        config=NASTY,
    )
    html = page.render(whole)
    assert "<script" not in html
    assert References(html).text.count(NASTY) > 15


def test_scores_by_two_readings_of_the_truth_stand_side_by_side() -> None:
    other = Convention(name="border ignored", stages=(COARSE, replace(HARMED, name="CSPN")))
    html = page.render(replace(report(COARSE, IMPROVED), convention="border as pet", others=(other,)))
    text = References(html).text
    assert "With the border as pet" in text and "With the border ignored" in text
    assert "CSPN raised IoU per image" in text and "CSPN lowered IoU per image" in text
    assert text.count("Mean over the images of the image's IoU") == 1  # the definitions stand once
    with pytest.raises(DataError, match="scored with border ignored must be those of the report: coarse, DySPN"):
        replace(report(COARSE, HARMED), others=(other,))
    assert "With the" not in References(page.render(report(COARSE, IMPROVED))).text


def test_verdict_of_an_improvement() -> None:
    verdict = tables.verdict(COARSE, IMPROVED)
    assert verdict.outcome == "improved"
    assert re.fullmatch(
        r"CSPN raised IoU per image from 0\.530 to 0\.650 \(\+0\.120, 95 % interval \+0\.11\d to \+0\.12\d\): "
        r"better on 100 % of images, worse on 0 %\.",
        verdict.sentence,
    )


def test_verdict_of_a_harm() -> None:
    verdict = tables.verdict(COARSE, HARMED)
    assert verdict.outcome == "harmed"
    assert verdict.sentence.startswith("DySPN lowered IoU per image from 0.530 to 0.410 (−0.120, 95 % interval −0.12")
    assert verdict.sentence.endswith("worse on 100 % of images, better on 0 %.")


def test_verdict_of_no_measurable_change() -> None:
    verdict = tables.verdict(COARSE, UNCHANGED)
    assert verdict.outcome == "unchanged"
    assert "no measurable change" in verdict.sentence and "includes 0" in verdict.sentence
    assert "raised" not in verdict.sentence and "lowered" not in verdict.sentence
    assert verdict.better == verdict.worse == 0.5


def test_identical_masks_are_no_change() -> None:
    verdict = tables.verdict(COARSE, replace(COARSE, name="again"))
    assert verdict.outcome == "unchanged"
    assert verdict.same == 1.0
    assert "No image improved." in page.render(report(COARSE, replace(COARSE, name="again")))


def test_one_image_is_no_evidence() -> None:
    verdict = tables.verdict(stage("coarse", [0.5]), stage("CSPN", [0.9]))
    assert verdict.outcome == "unknown"
    assert "cannot be judged" in verdict.sentence


def test_few_images_are_pointed_out() -> None:
    warning = "the interval is too narrow"
    few = page.render(report(stage("coarse", BEFORE[:9]), stage("CSPN", [0.9] * 9)))
    assert warning in few
    assert warning not in page.render(report(COARSE, IMPROVED))


def test_verdict_stands_before_everything_else() -> None:
    html = page.render(report(COARSE, IMPROVED, HARMED))
    text = " ".join(References(html).text.replace("\N{NO-BREAK SPACE}", " ").split())
    places = [text.index(tables.verdict(COARSE, one).sentence) for one in (IMPROVED, HARMED)]
    assert places == sorted(places) and places[-1] < text.index("IoU of the data set")


def test_page_of_one_stage_shows_no_changes() -> None:
    html = page.render(report(COARSE))
    assert "coarse reaches an IoU per image of 0.530" in html
    assert "against coarse" not in html and "Most improved" not in html and "Most harmed" not in html
    assert all(cell.change is None for cell in tables.score_cells(COARSE, COARSE))
    assert not re.search(r"[+±−]\d\.\d{3}", html)


def test_runs_on_other_images_are_shown_but_not_compared() -> None:
    other = stage("other run", BEFORE, prefix="photo")
    html = page.render(report(COARSE, other, IMPROVED))
    assert "not compared with coarse" in html
    assert "other run reaches an IoU per image" in html
    assert "other run raised" not in html and "CSPN raised" in html


def test_changes_stand_by_name_where_the_order_of_images_differs() -> None:
    names, counts, ignored = IMPROVED.result.names, IMPROVED.result.counts, IMPROVED.result.ignored
    turned = replace(IMPROVED.result, names=names[::-1], counts=counts[::-1], ignored=ignored[::-1])
    assert gallery.iou_changes(COARSE.result, turned) == gallery.iou_changes(COARSE.result, IMPROVED.result)


def test_picks_are_the_extremes() -> None:
    before = stage("coarse", [0.5, 0.5, 0.5, 0.9, 0.1])
    after = stage("CSPN", [0.8, 0.4, 0.5, 0.95, 0.05])
    picks = gallery.pick(before.result, after.result, count=2)
    assert picks.improved == ("image_0", "image_3")
    assert picks.harmed == ("image_1", "image_4")
    assert picks.best == ("image_3", "image_0")
    assert picks.worst == ("image_4", "image_1")
    assert gallery.typical(before.result, after.result) == "image_2"


def test_images_without_a_change_are_neither_improved_nor_harmed() -> None:
    picks = gallery.pick(COARSE.result, COARSE.result)
    assert picks.improved == picks.harmed == ()


def test_gallery_shows_iou_before_and_after() -> None:
    shown = gallery.exhibit("image_0", picture(), COARSE, IMPROVED)
    assert (shown.before, shown.after) == (0.5, 0.6)
    assert [tile.caption for tile in shown.row.tiles] == ["image", "truth", "coarse", "CSPN", "fixed / broken"]


def test_strip_scores_every_step() -> None:
    strip = report(COARSE).strips[0]
    given, refined = gallery.strip_rows(strip, BINARY)
    assert [tile.caption for tile in given.tiles] == ["image", "truth"]
    assert [tile.score for tile in refined.tiles] == [0.5, 0.6, 0.8, None]


def test_picture_without_truth_and_page_without_strips() -> None:
    untruthful = picture(truth=False)
    strip = Strip(name="new", picture=untruthful, steps={"CSPN": [covering(0.5), covering(0.6)]})
    html = page.render(replace(report(COARSE, IMPROVED), strips=(strip,), pictures=lambda name: untruthful))
    assert "fixed / broken" not in html
    assert "Step by step" not in page.render(replace(report(COARSE, IMPROVED), strips=()))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (700, 500)])
def test_pictures_of_any_size_stay_small(size: tuple[int, int]) -> None:
    mask = np.zeros(size, np.uint8)
    shown = Picture(image=np.zeros((*size, 3), np.uint8), truth=mask, masks={"coarse": mask, "CSPN": mask})
    tiles = gallery.exhibit("image_0", shown, COARSE, IMPROVED).row.tiles
    for tile in tiles:
        with _opened(tile.uri) as embedded:
            assert max(embedded.size) == min(max(size), pictures.MAX_SIDE)


def test_changed_pixels_have_their_own_colours() -> None:
    image = np.zeros((1, 5, 3), np.uint8)
    truth = np.array([[1, 1, 1, 1, 255]], np.uint8)
    before, after = np.array([[0, 1, 0, 1, 0]], np.uint8), np.array([[1, 0, 0, 1, 1]], np.uint8)
    fixed, broken, wrong, right, ignored = _pixels(pictures.change_uri(image, truth, before, after))
    assert [fixed, broken, wrong] == [colour for colour, _ in pictures.CHANGE_LEGEND]
    assert right == ignored and right not in (fixed, broken, wrong)


def test_mistakes_have_their_own_colours() -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    truth, mask = np.array([[1, 0, 1, 1]], np.uint8), np.array([[0, 1, 2, 1]], np.uint8)
    assert _pixels(pictures.mistakes_uri(image, truth, mask))[:3] == [colour for colour, _ in pictures.MISTAKE_LEGEND]


def test_without_a_background_every_mistake_is_a_wrong_class() -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    truth, mask = np.array([[1, 0, 1, 255]], np.uint8), np.array([[0, 1, 2, 1]], np.uint8)
    *mistakes, ignored = _pixels(pictures.mistakes_uri(image, truth, mask, background=False))
    assert set(mistakes) == {pictures.WRONG_COLOUR} and ignored != pictures.WRONG_COLOUR


def test_official_colours_take_the_place_of_the_pages_own() -> None:
    colours = ((128, 64, 0), (1, 2, 3))
    assert _pixels(pictures.mask_uri(np.array([[0, 1, 2, 255]], np.uint8), colours)) == [
        *("#804000", "#010203"),
        *(pictures.class_colour(label) for label in (2, 255)),
    ]
    assert pictures.label_palette(2, colours).tolist() == [list(colour) for colour in colours]


def test_masks_have_the_colours_of_the_legend() -> None:
    labels = [0, 1, 5, 21, 60, 255]
    uri = pictures.mask_uri(np.array([labels], np.uint8))
    assert _pixels(uri) == [pictures.class_colour(label) for label in labels]
    assert len({pictures.class_colour(label) for label in range(41)}) == 41


def _opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def _pixels(uri: str) -> list[str]:
    """The colours of the first row of an embedded picture."""
    with _opened(uri) as shown:
        row = np.asarray(shown.convert("RGB"))[0]
    return ["#" + bytes(pixel).hex() for pixel in row]


def test_histogram_counts_every_image_and_keeps_the_unchanged_apart() -> None:
    for reach in (0.0, 0.004, 0.3, 1.0):
        edges = figures._bin_edges(reach)
        assert edges[0] <= -reach and edges[-1] >= reach
        assert {-0.01, 0.01} <= set(edges.round(9))
        assert len(edges) <= 36


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0194, "+0.019"), (-0.0046, "−0.005"), (-0.0004, "±0.000"), (float("nan"), "–")]
)
def test_signed_numbers(value: float, shown: str) -> None:
    assert tables.signed(value) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0 %"), (0.004, "< 1 %"), (0.996, "> 99 %"), (1.0, "100 %")])
def test_percent_keeps_none_and_all_exact(share: float, shown: str) -> None:
    assert tables.percent(share) == shown


def test_many_classes_show_their_confusions_as_a_list() -> None:
    classes = tuple(f"class {label}" for label in range(30))
    meter = EvaluationMeter(classes)
    meter.update("image_0", np.full((SIDE, SIDE), 7, np.uint8), covering(0.5) * 3)
    many = Stage(name="coarse", result=meter.result())
    html = page.render(replace(report(many), strips=(), pictures=lambda name: picture(truth=False)))
    assert "Most frequent confusions" in html and 'class="matrix"' not in html
    assert [(one.truth, one.mask) for one in tables.frequent_confusions(many.result)] == [
        ("class 0", "class 7"),
        ("class 3", "class 7"),
    ]


def test_a_report_checks_its_parts() -> None:
    with pytest.raises(DataError, match="at least one scored stage"):
        report()
    with pytest.raises(DataError, match="coarse came more than once"):
        report(COARSE, COARSE)
    with pytest.raises(DataError, match=r"the truth must be uint8 of the image's shape \(20, 20\)"):
        replace(picture(), truth=np.ones((3, 3), np.uint8))
    with pytest.raises(DataError, match="image must be uint8"):
        replace(picture(), image=np.zeros((SIDE, SIDE, 3)))


def test_boundaries_have_a_table_of_their_own() -> None:
    coarse, refined = edge_stage("coarse", 2), edge_stage("CSPN", 1)
    html = page.render(replace(report(coarse, refined), strips=()))
    text = " ".join(References(html).text.replace("\N{NO-BREAK SPACE}", " ").split())
    table = text[text.index("At the edge") :]
    for field, label in tables.BOUNDARY_LABELS.items():
        interval = bootstrap(refined.result, field)
        assert label in table
        assert (
            " ".join(map(tables.number, (interval.value, interval.low))) + f" to {tables.number(interval.high)}"
            in table
        )
    difference = change(coarse.result, refined.result, "boundary_f").interval
    assert f"▲ {tables.signed(difference.value)} {tables.signed(difference.low)} to" in table
    assert "Here 0.05." in table and "the foreground's if there are two classes" in table
    assert table.count("ignored pixels are not scored") == 1
    assert "No pixel of the truth is ignored" in table and "left out of its mean" not in table


def test_no_table_of_boundaries_unless_every_stage_has_scores() -> None:
    assert "At the edge" not in page.render(report(COARSE, IMPROVED))
    for stages in ((COARSE, edge_stage("CSPN", 1)), (edge_stage("coarse", 1), IMPROVED)):
        assert "At the edge" not in page.render(replace(report(*stages), strips=()))


def test_boundaries_say_what_was_ignored_and_left_out() -> None:
    stages = [edge_stage("coarse", 2, strip=True), edge_stage("CSPN", 1, strip=True)]
    convention, left_out = tables.boundary_remarks(stages)
    assert convention.startswith("The truth holds ignored pixels")
    assert left_out == ("coarse, CSPN: of 31 images, some have no score and are left out of its mean. Boundary F: 15.")


def test_undefined_boundaries_show_no_change() -> None:
    stages = [edge_stage("coarse", 2), edge_stage("CSPN", 1)]
    for one in stages:
        one.result.boundary["boundary_f"][:] = np.nan  # type: ignore[attr-defined]
    cells = dict(zip(tables.BOUNDARY_LABELS, tables.boundary_cells(*stages), strict=True))
    assert cells["boundary_f"].interval is cells["boundary_f"].change is None
    assert cells["boundary_iou"].outcome == "improved"


def test_headings_tell_the_radii_of_the_trimap() -> None:
    assert TRIMAP_SHARE == 0.02
    labels = [tables.BOUNDARY_LABELS[f"trimap_iou{part}"] for part in ("_quarter", "_half", "")]
    assert labels == ["Trimap IoU, 0.5 %", "Trimap IoU, 1 %", "Trimap IoU, 2 %"]
    assert set(tables.BOUNDARY_LABELS) <= {field.name for field in fields(BoundaryScores)}
