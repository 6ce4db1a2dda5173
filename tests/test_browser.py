"""The page of a graph in a browser: clicking, keys, opening and closing, the slider, and no request to anywhere."""

import json

import numpy as np
import pytest
from browser import opened

import vugrad as vg
from vugrad.viewer.picture import picture
from vugrad.viewer.scene import Group

X = np.linspace(-1, 1, 20).reshape(5, 4)


def network():
    vg.seed(0)
    net = vg.nn.MLP([4, 8, 3])
    return vg.view(lambda x: vg.losses.cross_entropy(net(x), np.array([0, 1, 2, 1, 0])), X)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return network().save(tmp_path_factory.mktemp("pages") / "graph.html")


def shown(page):
    return page.locator(".canvas g[data-id]").count()


def details(page):
    return page.locator("aside").inner_text()


def node(page, text, nth=0):
    return page.locator(f'.canvas g[data-id]:has(text:text-is("{text}"))').nth(nth)


def test_clicking_shows_numbers_code_and_lines(graph):
    with opened(graph) as page:
        node(page, "BatchMM").click()
        text = details(page)
        for part in ("0 (Linear) in MLP (MLP)", "test_browser.py:", "np.matmul(x, w.T)", "the same ∎", "weight (8, 4)"):
            assert part in text
        page.locator("aside button", has_text="weight (8, 4)").click()
        assert "parameter, shape (8, 4), float32" in details(page)
        assert page.get_by_role("cell").count() == 32
        assert page.locator("aside .bars i").count() == 24
        assert "It has no gradient yet" in details(page)


def test_modules_open_and_close(graph):
    with opened(graph) as page:
        everything = shown(page)
        page.get_by_role("button", name="Close all").click()
        assert shown(page) == 7
        group = node(page, "▸ MLP")
        assert group.get_attribute("aria-expanded") == "false"
        group.dblclick()
        assert shown(page) == 10
        page.get_by_role("button", name="Open all").click()
        assert shown(page) == everything


def test_keys(graph):
    with opened(graph) as page:
        node(page, "BatchMM").focus()
        page.keyboard.press("Enter")
        assert "BatchMM" in details(page)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert "value, shape (5, 8)" in details(page)
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("op BatchMM of")
        before = shown(page)
        node(page, "▾ MLP").focus()
        page.keyboard.press("Enter")
        assert shown(page) < before
        assert page.locator(".canvas g[tabindex='0']").count() == 1


def test_the_slider_plays_forward_and_backward(graph):
    with opened(graph) as page:
        slider, status = page.locator("input[type=range]"), page.get_by_role("status")
        assert status.inner_text() == "7 ops forward, then 7 backward"
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert status.inner_text() == "1 of 14: forward, BatchMM"
        assert page.locator(".canvas .later").count() == 12  # what is not known yet
        page.keyboard.press("End")
        assert status.inner_text() == "14 of 14: backward, BatchMM"
        assert page.locator(".canvas .later").count() == 0
        assert page.locator(".canvas .arrived").count() == 12
        text = details(page)
        assert "The upstream gradient go" in text
        assert "Gradient for weight (8, 4) in 0 Linear" in text
        page.get_by_role("button", name="One step back").click()
        assert status.inner_text() == "13 of 14: backward, Add"
        page.get_by_role("button", name="Play").click()
        page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('14')")
        page.get_by_role("button", name="Play").wait_for()


def test_contributions_add_up_at_a_shared_node(tmp_path):
    x = vg.TensorNode(np.array([[1.0, 3.0]]), name="x")
    y = (vg.ops.Normalize.do_forward(x) * np.array([[2.0, 5.0]])).sum() + (x * x).sum()
    with opened(vg.view(y).save(tmp_path / "shared.html")) as page:
        page.locator("input[type=range]").focus()
        page.keyboard.press("End")
        text = details(page)
        assert "accumulated before:" in text
        assert "and the sum of both:" in text
        assert "it reaches 2 outputs, and its gradient is the sum over them" in text
        assert "Σ_j go[a,j] x[a,j]" in text  # the sum that was lost


def test_it_lies_where_the_svg_has_it(graph):
    for down in (False, True):
        view = network()
        scene = view.scene
        drawn = picture(scene, {group for group in scene.whole.within if group.label != "2"}, down)
        with opened(graph) as page:
            if down:
                page.get_by_role("button", name="Turn").click()
            node(page, "▾ 2 Linear").dblclick(position={"x": 40, "y": 8})
            found = page.evaluate(
                "[...document.querySelectorAll('.canvas g[data-id] > rect')].map(r => "
                "['x', 'y', 'width', 'height'].map(k => +r.getAttribute(k)))"
            )
        expected = [(s.x, s.y, s.width, s.height) for s in drawn.shapes.values()]
        np.testing.assert_allclose(sorted(found), sorted(map(list, expected)), atol=1e-6)


def test_an_error_is_marked(tmp_path):
    net = vg.nn.Sequential(vg.nn.Linear(3, 2), vg.nn.ReLU())
    try:
        with vg.debug():
            net(np.full((2, 3), np.nan))
    except FloatingPointError as error:
        path = vg.view(error).save(tmp_path / "wrong.html")
    with opened(path) as page:
        assert page.locator(".canvas .wrong").count() == 1
        assert "holds NaN that no op has produced" in details(page)


def test_names_are_never_run(tmp_path):
    evil = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    x = vg.TensorNode(np.ones(2), name=evil)
    with opened(vg.view(np.exp(x).sum()).save(tmp_path / "evil.html")) as page:
        page.locator(".canvas g[data-id]").first.click()
        for _ in range(4):
            page.get_by_role("button", name="One step on").click()
        assert page.title() == "The graph of a node: 2 ops, 3 tensors"
        assert evil in details(page) + page.locator(".canvas").text_content()


def test_twenty_thousand_nodes_open_and_stay_usable(tmp_path):
    z = vg.TensorNode(np.ones(2))
    for _ in range(4000):
        z = np.sin(z) * 1.01
    path = vg.view(z.sum()).save(tmp_path / "large.html")
    with opened(path) as page:
        assert shown(page) == 30
        page.locator(".canvas g[data-id]").first.dblclick()
        page.get_by_role("button", name="Open all").click()
        assert shown(page) > 200
        page.locator("input[type=range]").fill("4000")
        assert page.get_by_role("status").inner_text() == "4000 of 8001: forward, Multiply"


@pytest.mark.parametrize(("width", "height", "scheme"), [(390, 800, "light"), (390, 800, "dark"), (1400, 800, "dark")])
def test_phones_and_the_dark(graph, width, height, scheme):
    with opened(graph, width, height, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        node(page, "BatchMM").click()
        assert "BatchMM" in details(page)
        for contrast in page.evaluate(CONTRASTS):
            assert contrast >= 4.5


#: Of every text of the drawing and the panel with what is behind it.
CONTRASTS = """
(() => {
  const light = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const found = [...document.querySelectorAll('.canvas g[data-id]')].map(g => ratio(
    getComputedStyle(g.querySelector('text')).fill, getComputedStyle(g.querySelector('rect')).fill));
  const panel = getComputedStyle(document.querySelector('aside')).backgroundColor;
  for (const p of document.querySelectorAll('aside p, aside h2, aside h3'))
    found.push(ratio(getComputedStyle(p).color, panel));
  return found;
})()
"""


def test_the_data_is_plain_json(graph):
    text = graph.read_text(encoding="utf-8")
    data = json.loads(text.split('-data">')[1].split("</script>")[0])
    assert len(data["nodes"]) == 20
    assert isinstance(network().scene.whole, Group)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A network that is wider than any screen, and has names, numbers and code of all lengths."""
    vg.seed(0)
    net, x = vg.nn.LeNet(), np.ones((2, 1, 28, 28), np.float32)
    view = vg.view(lambda x: vg.losses.cross_entropy(net(x), np.array([3, 4])), x)
    return view.save(tmp_path_factory.mktemp("wide") / "lenet.html")


#: How high letters are on the screen, for every text that is drawn.
LETTERS = """[...document.querySelectorAll('.canvas text')].map(t =>
  t.getScreenCTM().a * parseFloat(getComputedStyle(t).fontSize))"""
#: What is wider than the panel lets it be.
CUT = """(aside => [aside, ...aside.querySelectorAll('*')].filter(e => {
  const beyond = e.getBoundingClientRect().right > aside.getBoundingClientRect().right;
  return beyond || e.clientWidth && e.scrollWidth > e.clientWidth + 1;
}).map(e => e.outerHTML.slice(0, 80)))(document.querySelector('aside'))"""
#: Where an element lies within the canvas, or not.
SEEN = """g => { const a = g.getBoundingClientRect(), b = document.querySelector('.canvas').getBoundingClientRect();
  return a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom; }"""


@pytest.mark.parametrize(("width", "height"), [(1400, 800), (900, 480), (390, 800)])
def test_all_can_be_read_at_every_width(wide, width, height):
    with opened(wide, width, height) as page:
        assert min(page.evaluate(LETTERS)) >= 11
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        scrolls = page.evaluate("(c => [c.scrollWidth > c.clientWidth, c.scrollHeight > c.clientHeight])"
                                "(document.querySelector('.canvas'))")  # fmt: skip
        assert any(scrolls)  # what does not fit in is reached by scrolling
        slider, last = page.locator("input[type=range]"), 2 * 21
        for step in (0, 1, 8, 21, 22, 30, last):
            slider.fill(str(step))
            assert page.evaluate(CUT) == []
            assert step == 0 or page.evaluate(SEEN, page.locator(".canvas g.now").element_handle())
        for tip in page.locator(".canvas marker").all():  # wide lines have no wide arrowheads
            assert tip.get_attribute("markerUnits") == "userSpaceOnUse"
            assert float(tip.get_attribute("markerWidth")) <= 12
        used = page.locator(".canvas .edge.now[marker-start*='tip-now']")
        assert used.count() >= 2
        assert used.first.evaluate("e => getComputedStyle(e).stroke") == page.locator(".canvas .tip-now").evaluate(
            "e => getComputedStyle(e).fill"
        )
        node(page, "Conv2d").click()
        assert page.evaluate(CUT) == []
        page.locator("aside button", has_text="weight (6, 1, 5, 5) in 0 Conv2d").click()
        assert page.evaluate(CUT) == []


def test_zoom_by_keys_wheel_and_fingers(wide):
    with opened(wide) as page:
        at = page.locator(".canvas text.title", has_text="LeNet")

        def letters():
            return page.evaluate(LETTERS)[0]

        whole, steps = letters(), []
        for key in ("+", "+", "-", "0"):
            page.keyboard.press(key)
            steps.append(letters() / whole)
        assert steps == pytest.approx([1.25, 1.5625, 1.25, 1])
        box = at.bounding_box()
        page.mouse.move(box["x"], box["y"])
        page.mouse.wheel(0, -100)
        page.wait_for_function(f"{LETTERS}[0] > {1.1 * whole}")
        assert at.bounding_box()["x"] == pytest.approx(box["x"], abs=3)  # what is under the pointer stays there
        page.locator(".canvas").evaluate("c => { c.scrollLeft = 0; }")
        page.mouse.move(600, 700)
        page.mouse.down()
        page.mouse.move(400, 700, steps=3)
        page.mouse.up()
        assert page.locator(".canvas").evaluate("c => c.scrollLeft") == 200
        before = letters()
        page.evaluate("""() => { const canvas = document.querySelector('.canvas');
          const touch = (n, x) => new Touch({identifier: n, target: canvas, clientX: x, clientY: 300});
          for (const far of [100, 200]) canvas.dispatchEvent(new TouchEvent('touchmove',
            {touches: [touch(0, 300), touch(1, 300 + far)], cancelable: true})); }""")
        assert letters() == pytest.approx(2 * before, rel=1e-3)


def test_a_presenter_steps_by_keys(wide):
    with opened(wide, color_scheme="dark") as page:
        status, present = page.get_by_role("status"), page.get_by_role("button", name="Present")
        page.keyboard.press("p")
        page.wait_for_function("document.fullscreenElement !== null")
        for key, says in (("ArrowRight", "1 of"), ("PageDown", "2 of"), ("ArrowRight", "3 of"), ("ArrowLeft", "2 of")):
            page.keyboard.press(key)
            assert status.inner_text().startswith(says)
        assert min(page.evaluate(LETTERS)) >= 22
        assert page.locator("aside p").first.evaluate("e => parseFloat(getComputedStyle(e).fontSize)") >= 20
        colours = "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
        assert page.locator("aside").evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        assert page.evaluate(SEEN, page.locator(".canvas g.now").element_handle())
        assert min(page.evaluate(CONTRASTS)) >= 4.5
        assert page.evaluate(CUT) == []
        page.keyboard.press("p")
        page.wait_for_function("document.fullscreenElement === null")
        assert present.get_attribute("aria-pressed") == "false"
        assert max(page.evaluate(LETTERS)) <= 24


def test_nodes_are_called_by_what_they_come_from(tmp_path):
    a = vg.TensorNode(np.array([[1.0, 2.0], [3.0, 4.0]]), name="a")
    left, right = np.split(a * 5.0, 2)
    loss = left.sum() * right.sum()
    with opened(vg.view(loss).save(tmp_path / "names.html")) as page:
        labels = [g.get_attribute("aria-label") for g in page.locator(".canvas g[data-id]").all()]
        assert {
            "op Multiply of a (2, 2) and the number 5",
            "the output of Multiply (2, 2), value",
            "op Sum of the output of Slice (1, 2)",
            "the output of Multiply, a scalar, result",
            "the number 5, input",
        } <= set(labels)
        page.locator("input[type=range]").fill("7")  # the first step backward
        assert "Gradient for the output of Sum, a scalar" in details(page)


def test_a_notebook_shows_it_readable_and_scrolls_on(tmp_path):
    net = vg.nn.LeNet()
    shown = vg.view(net, np.ones((1, 1, 28, 28), np.float32))._repr_html_()
    path = tmp_path / "notebook.html"
    path.write_text(f"<body style='margin:0 auto;width:900px'>{shown}<p style='height:2000px'>below", encoding="utf-8")
    with opened(path) as page:
        frame = page.frame_locator("iframe")
        frame.locator(".canvas text").first.wait_for()
        inner = page.frames[1]
        before = inner.evaluate(LETTERS)
        assert min(before) >= 11
        page.mouse.move(400, 300)
        page.mouse.wheel(0, 150)
        page.wait_for_function("window.scrollY > 0")
        page.mouse.wheel(0, -150)
        page.wait_for_function("window.scrollY === 0")
        assert inner.evaluate(LETTERS) == before
        frame.get_by_role("button", name="Present").click()
        inner.wait_for_function("document.fullscreenElement !== null")
        assert min(inner.evaluate(LETTERS)) >= 22
        page.keyboard.press("ArrowRight")
        assert frame.get_by_role("status").inner_text().startswith("1 of 19")
