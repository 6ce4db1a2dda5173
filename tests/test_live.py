"""Training watched in a browser, by page and by TensorBoard's files."""

import json
import struct
import urllib.error
import urllib.request

import numpy as np
import pytest
from browser import opened
from typer.testing import CliRunner

import vugrad as vg
from vugrad.cli import app
from vugrad.train.handwriting import centred
from vugrad.train.live import LivePage
from vugrad.train.tensorboard import TensorBoard


@pytest.fixture(scope="module")
def trained():
    """A page after two epochs of a small network on digits."""
    vg.seed(0)
    data = vg.data.load("digits")
    net = vg.nn.MLP([64, 32, 10])
    page = LivePage()
    vg.train.fit(net, data, epochs=2, callbacks=[page], progress=False, seed=0)
    yield page, net, data
    page.close()


def post(page, body, **headers):
    request = urllib.request.Request(f"{page.address}/drawing", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def test_what_is_known_after_each_epoch(trained):
    page, net, _ = trained
    state = page.state
    assert [epoch["epoch"] for epoch in state["epochs"]] == [1, 2]
    assert [layer["name"] for layer in state["layers"]] == [name for name, _ in net.named_parameters()]
    assert all(sum(layer["weights"]["bins"]) > 0 and layer["gradients"] for layer in state["layers"])
    assert state["mistakes"]
    assert all(mistake["is"] != mistake["taken"] for mistake in state["mistakes"])
    shares = [mistake["share"] for mistake in state["mistakes"]]
    assert shares == sorted(shares, reverse=True)
    assert state["done"] == "training has ended"
    json.dumps(state, allow_nan=False)


def test_it_does_not_change_training(trained):
    _, net, data = trained
    vg.seed(0)
    other = vg.nn.MLP([64, 32, 10])
    vg.train.fit(other, data, epochs=2, progress=False, seed=0)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
        assert not np.any(a.grad)


def test_a_drawing_is_classified(trained):
    page, net, data = trained
    shares = post(page, np.kron(data.test.x[0, 0], np.ones((4, 4))).tolist())
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    drawn = centred(np.kron(data.test.x[0, 0], np.ones((4, 4))), 8, 8).astype(np.float32)
    assert int(np.argmax(shares)) == int(vg.train.predict(net, drawn[None, None]).argmax())


def code_of(page, body, **headers):
    """The status with which a drawing is refused."""
    try:
        return post(page, body, **headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("body", [[], [1, 2], "x", [[None]], [["a"]], [[1, 2], [3]], {"a": 1}])
def test_what_is_no_drawing_is_refused(trained, body):
    assert code_of(trained[0], body) == 400


def test_large_drawings_and_other_hosts_are_refused(trained):
    page = trained[0]
    assert code_of(page, [[0.5] * 300] * 400) == 413
    assert code_of(page, [[0.5]], Host="elsewhere.example") == 400


def test_it_is_for_this_machine_alone(trained):
    assert trained[0].address.startswith("http://127.0.0.1:")
    with pytest.raises(OSError, match="cannot be used"):
        LivePage(port=int(trained[0].address.rpartition(":")[2])).begin()


def ticks(browser, chart):
    """The numbers beside a chart's axes, from below to above and from left to right."""
    texts = browser.locator(f"#{chart} .tick")
    up = texts.locator("xpath=self::*[@text-anchor='end']").all_text_contents()
    across = texts.locator("xpath=self::*[@text-anchor='middle']").all_text_contents()
    return [float(text) for text in up], [float(text) for text in across]


def test_the_page(trained):
    page, _, _ = trained
    with opened(page.address) as browser:
        browser.wait_for_function("document.querySelectorAll('#loss circle').length == 4")
        assert "epoch 2 of 2" in browser.get_by_role("status").inner_text()
        assert browser.locator("#layers .bars").count() == 8
        assert browser.locator("#mistakes figure").count() == len(page.state["mistakes"])
        for chart, unit in (("loss", "loss, mean per instance"), ("accuracy", "correct, % of instances")):
            assert browser.locator(f"#{chart} .unit").all_text_contents() == [unit, "epoch"]
            up, across = ticks(browser, chart)
            assert len(up) >= 3
            assert across == [1, 2]
            low, high = sorted(float(browser.locator(f"#{chart} circle").nth(i).get_attribute("cy")) for i in (0, 3))
            assert up[0] < up[-1]
            assert np.ptp(np.diff(up)) < 1e-9 * up[-1]
            assert 24 <= low <= high <= 176  # the curves lie between the first and the last tick
        for numbers, expected in (
            ("0.93, 2.22, 4", ["0.5", "1.0", "1.5", "2.0", "2.5"]),
            ("1, 100, 6, 1", ["0", "20", "40", "60", "80", "100"]),
            ("0.3, 0.3, 4", ["0.30", "0.35"]),
            ("0, 0, 4", ["0", "1"]),
            ("0, 3e7, 3", ["0.0e+0", "1.0e+7", "2.0e+7", "3.0e+7"]),
        ):
            assert browser.evaluate(f"ticks({numbers}).map(([v, text]) => text)") == expected
        assert browser.locator("#layers .ends").count() == 8
        paper = browser.locator("#paper").bounding_box()
        browser.mouse.move(paper["x"] + 110, paper["y"] + 30)
        browser.mouse.down()
        browser.mouse.move(paper["x"] + 112, paper["y"] + 190, steps=8)
        browser.mouse.up()
        browser.wait_for_function("document.querySelectorAll('#shares i').length == 10")
        assert browser.locator("#said").inner_text().startswith("It is taken for ")
        browser.get_by_role("button", name="Clear").click()
        assert browser.locator("#shares i").count() == 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= 1400


def test_a_narrow_page(trained):
    with opened(trained[0].address, 390, 800, color_scheme="dark") as browser:
        browser.wait_for_function("document.querySelectorAll('#loss circle').length == 4")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        letters = "t => t.getScreenCTM().a * parseFloat(getComputedStyle(t).fontSize)"
        assert min(browser.locator("svg text").nth(i).evaluate(letters) for i in range(9)) >= 11


def test_a_network_that_has_diverged(trained):
    data = trained[2]
    page = LivePage()
    try:
        vg.train.fit(vg.nn.MLP([64, 10]), data, epochs=1, callbacks=[page], progress=False)
        for parameter in page._model.parameters():
            parameter.value[...] = np.nan
        assert code_of(page, [[0.5]]) == 409
    finally:
        page.close()


def test_data_without_classes_and_images():
    page = LivePage(vg.losses.mse_loss)
    x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(-1, 1)
    try:
        vg.train.fit(
            vg.nn.Linear(1, 1), (x, 3 * x), loss=vg.losses.mse_loss, epochs=1, callbacks=[page], progress=False
        )
        assert page.state["mistakes"] == []
        assert page.state["shape"] is None
        assert code_of(page, [[0.5]]) == 400
    finally:
        page.close()
    page.close()


def records(path):
    """The events in one of TensorBoard's files."""
    from tensorboardX.proto.event_pb2 import Event

    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += 16 + length


def test_tensorboard_files(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32), np.arange(64) % 3
    data = vg.data.Dataset((x, y), validation=(x, y))
    callback = TensorBoard(tmp_path / "runs")
    history = vg.train.fit(vg.nn.MLP([4, 3]), data, epochs=2, callbacks=[callback], progress=False)
    (path,) = (tmp_path / "runs").glob("events.out.tfevents.*")
    values = [(v.tag, event.step, v) for event in records(path) for v in event.summary.value]
    losses = [v.simple_value for tag, _, v in values if tag == "loss/train"]
    assert losses == pytest.approx(history["loss"])
    assert {tag for tag, _, v in values if v.HasField("histo")} == {"0.weight", "0.bias"}
    assert {step for _, step, _ in values} == {1, 2}


def test_the_command(tmp_path):
    arguments = ["train", "--data", "digits", "--epochs", "1", "--out", str(tmp_path), "--live"]
    result = CliRunner().invoke(app, [*arguments, "--tensorboard", str(tmp_path / "board")])
    assert result.exit_code == 0, result.output
    assert "the training is at http://127.0.0.1:" in result.output
    assert list((tmp_path / "board").glob("events*"))


def test_a_page_shows_the_epochs_before_a_resumed_run(tmp_path):
    data = vg.data.load("digits")
    for epochs in (2, 3):
        vg.seed(0)
        page = LivePage()
        vg.train.fit(
            vg.nn.MLP([64, 8, 10]),
            data,
            epochs=epochs,
            callbacks=[page],
            checkpoint=tmp_path,
            resume=True,
            progress=False,
        )
        page.close()
        assert [epoch["epoch"] for epoch in page.state["epochs"]] == list(range(1, epochs + 1))
