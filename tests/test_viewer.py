"""Pictures of graphs: what is in them, where it lies, and that nothing in a file or page is executed."""

import json
import re
import subprocess
import sys
import tracemalloc
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from given import given, keeping

import vugrad as vg
from vugrad.viewer import page, scene as scenes
from vugrad.viewer.figures import figures
from vugrad.viewer.layout import Layers, crossings, layers, place
from vugrad.viewer.page import document
from vugrad.viewer.picture import called, opened, picture
from vugrad.viewer.steps import backward_steps
from vugrad.viewer.views import view


def small():
    a = vg.TensorNode(np.array([[1.0, 2.0], [3.0, 4.0]]), name="a")
    b = vg.TensorNode(np.array([10.0, 20.0]), name="b")
    return (a * b).sum() + np.exp(a).mean()


def network():
    vg.seed(0)
    return vg.nn.MLP([4, 8, 3])


def loss_of(net):
    return lambda x: vg.losses.cross_entropy(net(x), np.array([0, 1, 2, 1, 0]))


X = np.linspace(-1, 1, 20).reshape(5, 4)


def kinds(view):
    return {group.label: group.kind for group in view.scene.whole.within[1:]}


# --- what is in a picture


def test_modules_are_groups_and_hold_their_parameters():
    found = view(loss_of(network()), X)
    assert kinds(found) == {"MLP": "MLP", "0": "Linear", "1": "ReLU", "2": "Linear"}
    home = {node.name or node.shape: group.label for node, group in found.scene.home.items() if hasattr(node, "shape")}
    assert home["weight"] in ("0", "2")
    assert home[5, 4] == ""  # what the network was given is not of it
    assert [op.op.__name__ for op in found.scene.ops] == [
        "BatchMM",
        "Add",
        "ReLU",
        "BatchMM",
        "Add",
        "CrossEntropy",
        "Mean",
    ]


def test_a_module_called_twice_is_two_groups_and_a_shared_weight_lies_around_both():
    layer = vg.nn.Linear(4, 4)
    found = view(lambda x: layer(np.exp(layer(x))), X)
    assert [group.kind for group in found.scene.whole.within[1:]] == ["Linear", "Linear"]
    assert found.scene.home[layer.weight] is found.scene.whole


def test_two_calls_with_the_same_input_are_two_groups():
    layer = vg.nn.Linear(4, 4)
    found = view(lambda x: [layer(x), layer(x)], X)
    assert [group.kind for group in found.scene.whole.within[1:]] == ["Linear", "Linear"]


def test_a_module_that_contains_itself():
    net = network()
    net.itself, net.parts = net, [net, {"again": net}]
    assert kinds(view(loss_of(net), X)) == {"MLP": "MLP", "0": "Linear", "1": "ReLU", "2": "Linear"}
    assert "for inputs of shape (4,)" in net._repr_html_()


def test_a_graph_that_was_made_before_is_drawn_without_modules():
    found = view(loss_of(network())(X))
    assert kinds(found) == {}
    with vg.debug():
        loss = loss_of(network())(X)
    assert set(kinds(view(loss)).values()) == {"MLP", "Linear", "ReLU"}


@pytest.mark.parametrize("make", [small, lambda: loss_of(network())(X)], ids=["small", "network"])
def test_no_part_leads_to_one_before_it(make):
    found = view(make()).scene
    for edges in found.between().values():
        assert all(a is None or b is None or a < b for a, b in edges)


def test_a_crowd_is_parted_and_nothing_leads_back():
    z = vg.TensorNode(np.ones(2), name="z")
    for i in range(300):
        z = np.sin(z) * (1.0 + i)
    found = view(z).scene
    assert all(len(group.parts) <= scenes.CROWD for group in found.whole.within)
    assert sum(isinstance(part, scenes.Group) is False for g in found.whole.within for part in g.parts) == len(
        found.home
    )
    for edges in found.between().values():
        assert all(a is None or b is None or a < b for a, b in edges)


def test_a_node_is_called_by_its_name_or_what_it_comes_from():
    twin = given(lambda context, x: (x + 1, x + 2), lambda context, go, also: go + also)
    a = vg.TensorNode(np.ones((2, 2)), name="a")
    first, second = twin.do_forward(a * 5.0)
    loss = (first * vg.TensorNode(np.ones(2)) + second).sum()
    found = view(lambda x: vg.losses.mse_loss(vg.nn.Linear(4, 3)(x), X[:, :3]), X).scene
    expected = ["a (2, 2)", "the number 5", "the output of Multiply (2, 2)", "output 1 of Given (2, 2)",
                "the input (2,)", "output 2 of Given (2, 2)", "the output of Sum, a scalar"]  # fmt: skip
    assert set(expected) <= {called(node, view(loss).scene) for node in view(loss).scene.tensors}
    assert {"weight (3, 4) in Linear", "the output of Add (5, 3) in Linear"} <= {
        called(node, found) for node in found.tensors
    }


# --- where it lies


def test_layers_have_few_crossings():
    # Two chains that cross if each layer is in the order of its numbers.
    edges = [(0, 3), (1, 2), (2, 5), (3, 4)]
    found = layers(6, edges, frozenset())
    assert crossings(found.rows, {a: [b for s, b in edges if s == a] for a, _ in edges}) == 0
    assert crossings([[0, 1], [2, 3]], {0: [3], 1: [2]}) == 1


def test_edges_that_pass_layers_have_bends_and_leaves_lie_by_their_use():
    found = layers(4, [(0, 2), (2, 3), (0, 3), (1, 3), (None, 2), (3, None)], frozenset({1}))
    assert [sorted(part for part in row if part >= 0) for row in found.rows] == [[0], [1, 2], [3]]
    assert {edge: len(bends) for edge, bends in found.bends.items()} == {
        (0, 2): 0, (2, 3): 0, (0, 3): 1, (1, 3): 0, (None, 2): 1, (3, None): 0,
    }  # fmt: skip


@pytest.mark.parametrize("down", [False, True])
def test_nothing_overlaps(down):
    found = view(loss_of(network()), X).scene
    drawn = picture(found, opened(found), down)
    boxes = [shape for part, shape in drawn.shapes.items() if not isinstance(part, scenes.Group)]
    for i, one in enumerate(boxes):
        assert one.x >= 0
        assert one.x + one.width <= drawn.width
        assert one.y + one.height <= drawn.height
        for other in boxes[:i]:
            apart = (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )
            assert apart, (one, other)
    assert len(drawn.edges) == len(found.edges)


def test_an_empty_group_has_a_place():
    placed = place(Layers([], {}), {})
    assert placed.spots == {}
    assert placed.width > 0


# --- files


def test_svg_is_whole_and_says_what_it_shows(tmp_path):
    path = view(loss_of(network()), X).save(tmp_path / "graph.svg")
    root = ET.fromstring(path.read_text())
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"BatchMM", "ReLU", "CrossEntropy", "0 Linear", "weight", "(8, 4)"} <= set(texts)
    assert root.get("aria-label") == "The graph of a node: 7 ops, 13 tensors"
    titles = [t.text for t in root if t.get("class") == "title"]  # after the edges, which cannot cross them
    assert titles == ["MLP", "0 Linear", "1 ReLU", "2 Linear"]
    for net, down, tall in (
        (vg.nn.LeNet(), None, True),
        (vg.nn.LeNet(), False, False),
        (vg.nn.Linear(4, 2), None, False),
    ):
        x = X if isinstance(net, vg.nn.Linear) else np.ones((1, 1, 28, 28))
        root = ET.fromstring(view(net, x, down=down)._repr_svg_())
        width, height = float(root.get("width")), float(root.get("height"))
        assert (height > width) == tall  # letters have 12 pixels where a notebook or README shows it whole
        assert width <= 900 or down is False


def test_dot_and_mermaid(tmp_path):
    found = view(loss_of(network()), X)
    dot = found.save(tmp_path / "graph.dot").read_text()
    assert dot.count("subgraph cluster_") == 4
    assert dot.count("->") == len(found.scene.edges)
    mermaid = found.save(tmp_path / "graph.mermaid").read_text()
    assert mermaid.startswith("flowchart LR\n")
    assert mermaid.count("-->") == len(found.scene.edges)
    assert mermaid.count("subgraph ") == mermaid.count("\nend") == 4


EVIL = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>]]>\u2028"


def test_names_are_text_wherever_they_stand(tmp_path):
    x = vg.TensorNode(np.ones(2), name=EVIL)
    found = view(np.exp(x).sum())
    page = found.save(tmp_path / "graph.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 2
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)[1])
    assert any(EVIL in node["text"] for node in data["nodes"])
    ET.fromstring(found.save(tmp_path / "graph.svg").read_text(encoding="utf-8"))
    assert "<img" not in found._repr_html_()
    assert "<img" not in found.save(tmp_path / "graph.mermaid").read_text(encoding="utf-8")


def test_bad_input(tmp_path):
    loss = small()
    with pytest.raises(ValueError, match="kind of picture"):
        view(loss).save(tmp_path / "graph.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to the folder"):
        view(loss).save(tmp_path / "file" / "graph.svg")
    for what in (3, "loss", [], [1.0], lambda: 3, np.ones(3)):
        with pytest.raises(TypeError, match="view takes a node"):
            view(what)
    loss.clear()
    with pytest.raises(RuntimeError, match="was cleared: Add no longer has its inputs"):
        view(loss)


def test_a_node_without_a_graph_is_drawn_alone(tmp_path):
    for node in (vg.TensorNode(np.ones(3), name="x"), vg.TensorNode(np.zeros((0, 2)))):
        found = view(node)
        assert "There is no graph below" in found.note
        found.save(tmp_path / "leaf.html")
        found.save(tmp_path / "leaf.svg")


def test_several_results_and_those_of_a_dict():
    x = vg.TensorNode(np.ones(4))
    assert len(view(np.split(np.exp(x), 2)).scene.results) == 2
    assert len(view(lambda x: {"a": np.exp(x), "b": np.sin(x)}, x).scene.results) == 2


# --- numbers


def test_figures_of_an_array():
    found = figures(np.array([[1.0, -2.0], [np.nan, np.inf]]))
    assert (found["low"], found["high"], found["nan"], found["infinite"]) == (-2, "inf", 1, 1)
    assert found["cells"] == [[1.0, -2.0], ["nan", "inf"]]
    assert json.dumps(found, allow_nan=False)
    large = figures(np.arange(10_000.0).reshape(100, 100))
    assert (len(large["cells"]), len(large["cells"][0]), sum(large["bins"])) == (20, 20, 10_000)
    assert large["cells"][0] == sorted(large["cells"][0])
    assert figures(np.zeros((0, 3))) == {"shape": [0, 3], "dtype": "float64", "size": 0}
    assert figures(np.array(2.5))["cells"] == [[2.5]]
    assert "cells" not in figures(np.array([1j]))


def test_a_large_array_costs_no_more_than_its_summary():
    x = np.broadcast_to(np.float32(1.5), (10_000, 10_000))  # which a copy would be 400 MB of
    tracemalloc.start()
    found = figures(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["low"], found["mean"]) == (1.5, 1.5)
    assert peak < 10e6


@pytest.mark.parametrize("values", [[1, 1 + 2.3e-16], [-1.7e308, 1.7e308], [1e-320, 2e-320], [5.0, 5.0]])
def test_ranges_that_cannot_be_parted(values, tmp_path):
    found = figures(np.array(values))
    assert "bins" not in found or sum(found["bins"]) == 2
    view(vg.TensorNode(np.array(values)) * 1.0).save(tmp_path / "range.html")
    assert figures(np.linspace(1, 2, 100).astype(np.float32))["bins"] != []


def test_odd_numbers_make_a_page(tmp_path):
    for x in (np.zeros((0, 3)), np.array(1 + 2j), np.array([1 + 2j, 3])):
        view((vg.TensorNode(x, requires_grad=False) * 2).sum()).save(tmp_path / "odd.html")


def test_looking_at_a_network_does_not_change_it():
    net = vg.nn.Sequential(vg.nn.Linear(4, 4), vg.nn.BatchNorm1d(4), vg.nn.Dropout(0.5))
    before, held = net.state_dict(), [vars(m).copy() for _, m in net.named_modules()]
    view(net, X)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    for (_, module), kept in zip(net.named_modules(), held, strict=True):
        assert all(vars(module)[name] is value for name, value in kept.items())


class Hoarder(vg.nn.Module):
    """A layer that keeps what it computes in lists and dicts."""

    def __init__(self):
        super().__init__()
        self.layer = vg.nn.Linear(4, 2)
        self.found, self.nested, self.own = {"old": 1}, ([{"deep": []}], []), [3]
        self.nested[1].append(self.nested)  # which has itself in it

    def forward(self, x):
        if "weight" not in self.found:
            self.found["weight"] = self.nested[0][0]["weight"] = self.layer.weight * 2
        self.nested[0][0]["deep"] += [x]
        self.own.append(x)
        return self.layer(x) + self.nested[0][0]["weight"][0, 0]


def test_looking_leaves_lists_and_dicts_as_they_were():
    net = Hoarder()
    found, inner, deep, own = net.found, net.nested[0][0], net.nested[0][0]["deep"], net.own
    view(net, X)
    assert (net.found is found, found) == (True, {"old": 1})
    assert net.nested[0][0] is inner
    assert inner["deep"] is deep
    assert (inner, deep, net.own) == ({"deep": []}, [], [3])
    assert net.own is own


def test_functions_of_arrays_and_compiled_ones():
    assert len(view(lambda a: np.exp(a).sum(), np.ones(3)).scene.ops) == 2
    assert len(view(vg.compile(lambda a: np.exp(a).sum()), np.ones(3)).scene.ops) == 2
    with pytest.raises(TypeError, match="what function gives is tuple"):
        view(lambda a: (np.exp(a), None), np.ones(3))


# --- steps


def test_steps_add_up_to_the_gradients_and_leave_none():
    loss = loss_of(network())(X)
    leaves = [node for node in view(loss).scene.tensors if node.source is None and node.requires_grad]
    steps = backward_steps(view(loss).scene)
    assert all(node._grad is None for node in leaves)
    totals = {}
    for step in steps:
        for handed in step.handed:
            assert (handed.before is None) == (handed.node not in totals)
            totals[handed.node] = handed.part if handed.before is None else handed.before + handed.part
    loss.backward()
    for node in leaves:
        np.testing.assert_allclose(totals[node], node.grad, rtol=1e-12)


def test_sums_are_what_the_report_lost():
    x = vg.TensorNode(np.array([[1.0, 3.0]]), name="x")
    y = vg.ops.Normalize.do_forward(x) * np.array([[2.0, 5.0]])
    step = backward_steps(view(y.sum()).scene)[-1]
    assert step.op.op.__name__ == "Normalize"
    terms = step.handed[0].sums[0]
    assert [(name, go) for name, go, _ in terms] == [("go[0, 0]", 2.0), ("go[0, 1]", 5.0)]
    assert sum(go * slope for _, go, slope in terms) == pytest.approx(step.handed[0].part[0, 0])


def test_steps_below_where():
    x = vg.TensorNode(np.array([0.0, 2.0]))
    with np.errstate(all="ignore"):
        loss = np.where(x > 0, np.log(x), 0.0).sum()
    (part,) = [h.part for s in backward_steps(view(loss).scene) for h in s.handed if h.node is x]
    np.testing.assert_array_equal(part, [0, 0.5])


def test_there_are_no_steps_without_one_number():
    x = vg.TensorNode(np.ones(3))
    assert backward_steps(view(np.exp(x)).scene) == []
    with vg.no_grad():
        assert backward_steps(view(np.exp(x).sum()).scene) == []


# --- at the prompt and in a notebook


def test_what_a_person_wants_to_know_is_said():
    loss = small()
    (a,) = [node for node in view(loss).scene.tensors if node.name == "a"]
    assert repr(loss).startswith("TensorNode(() float64, from Add)")
    assert repr(vg.TensorNode([1, 2])).startswith("TensorNode((2,) int64, constant)")
    loss.backward()
    assert repr(a).startswith("TensorNode(a: (2, 2) float64, with a gradient)")
    assert repr(vg.Exp) == "<Op Exp: y = eˣ;  gx = go · y.>"
    assert repr(given(lambda context, x: x, lambda context, go: go)) == "<Op Given>"


def test_nodes_show_where_they_came_from():
    loss = small()
    loss.backward()
    html = loss._repr_html_()
    assert "from Add, with a gradient" in html
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", html)
    assert {"Add", "Sum", "Mean"} <= set(texts)
    assert "Multiply" not in texts  # which is further away
    assert "Sum" in loss.source._repr_html_()
    leaf = vg.TensorNode(np.ones(3), name=EVIL)
    assert "<svg" not in leaf._repr_html_()
    assert "<img" not in leaf._repr_html_()
    loss.clear()
    assert "cleared" in loss.source._repr_html_()
    assert "<svg" not in loss._repr_html_()


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: vg.nn.MLP([784, 10]), ["(784,)", "(N, 10)", "7,850"]),
        (vg.nn.LeNet, ["(1, 28, 28)", "(N, 16, 4, 4)", "44,426"]),
        (vg.nn.ReLU, ["ReLU", "-"]),
        (lambda: vg.nn.Linear(3, 2), ["Linear", "(N, 2)", "8"]),
    ],
)
def test_modules_show_their_layers(make, parts):
    html = make()._repr_html_()
    assert all(f">{part}<" in html or f"shape {part}<" in html for part in parts), html


def test_a_history_shows_its_curves():
    epochs = [vg.train.Epoch(i, 1 / i, 0.5, 1.1 / i, 0.4, 0.01, 1.0, 100.0) for i in (1, 2, 3)]
    assert vg.train.History(epochs)._repr_html_().count("<svg") == 1
    assert vg.train.History()._repr_html_() is None


# --- pages


def test_a_page_has_code_lines_and_derivations():
    found = document(view(loss_of(network()), X).scene)
    ops = [node for node in found["nodes"] if node["kind"] == "op"]
    first = next(op for op in ops if op["text"] == ("BatchMM",))
    assert first["path"] == "0 (Linear) in MLP (MLP)"
    assert "test_viewer.py:" in first["line"]
    code = found["codes"][first["code"]]
    assert "np.matmul(x, w.T)" in code["source"]
    assert "gw[a,b] = Σ_i go[i,a] x[i,b]    the same ∎" in code["derivation"]
    wrong = given(keeping(np.exp), lambda context, go: 2 * go * np.exp(context["x"]))
    codes = document(view(wrong.do_forward(vg.TensorNode(np.ones(3)))).scene)["codes"]
    assert [code["derivation"] for code in codes.values()] == [None]  # what is not shown is not shown


def test_every_script_is_in_the_page_and_short():
    scripts = {path.name: path.read_text(encoding="utf-8") for path in Path(page.__file__).parent.glob("*.js")}
    assert set(scripts) == set(page.SCRIPTS)
    assert max(text.count("\n") for text in scripts.values()) <= 300
    assert all(text in page.page(view(small()).scene) for text in scripts.values())


def test_twenty_thousand_nodes_are_a_page_of_some_size(tmp_path):
    z = vg.TensorNode(np.ones(2))
    for _ in range(4000):
        z = np.sin(z) * 1.01
    path = view(z.sum()).save(tmp_path / "large.html")
    assert path.stat().st_size < 20e6


def test_the_core_does_not_load_it():
    code = "import sys, vugrad; sys.exit('vugrad.viewer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_boundary_shows_every_class_and_hides_no_point(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    from vugrad.train.pictures import draw_boundary

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **options: drawn.append(figure))
    x, y = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32), np.arange(40) % 10
    draw_boundary(vg.nn.Linear(2, 10), vg.data.Dataset((x, y)), tmp_path / "boundary.png")
    (figure,), (axes,) = drawn, drawn[0].axes
    points = axes.collections[-10:]
    looks = [(tuple(p.get_facecolor()[0]), p.get_paths()[0].vertices.shape) for p in points]
    assert [p.get_label() for p in points] == [f"class {i}" for i in range(10)]
    assert sum(len(p.get_offsets()) for p in points) == 40
    assert len(set(looks)) == 10
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x0 >= axes.get_window_extent().x1
