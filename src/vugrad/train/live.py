"""Training as it is watched in a browser, on this machine alone (extra ``live``)."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from vugrad.graph.backward import walk
from vugrad.losses import Loss, cross_entropy
from vugrad.nn import Module
from vugrad.ops import Softmax
from vugrad.train.callbacks import Callback, Run
from vugrad.train.evaluate import predict
from vugrad.train.handwriting import centred
from vugrad.train.history import Epoch
from vugrad.train.trained import box_of
from vugrad.viewer.figures import bins, rounded

HOST = "127.0.0.1"
#: Seconds between two looks at what is new; mistakes that are shown, of so many instances; bytes of a drawing.
PAUSE, MISTAKES, LOOKED_AT, LARGEST = 0.25, 18, 1000, 400_000


class LivePage(Callback):
    """A page on this machine with curves, histograms, sample mistakes, and a canvas whose drawing is classified.

    Args:
        loss: by which gradients are shown.
        port: of the page; a free one if 0.

    The page is there from the start of the training to the end of the process, or ``close()``; ``address`` says where.
    It is served to this machine alone, and nobody else is asked for anything.
    """

    every_batch = False

    def __init__(self, loss: Loss = cross_entropy, port: int = 0) -> None:
        self.loss, self.port = loss, port
        self.address = ""
        self.state: dict[str, Any] = {"epochs": [], "now": None, "layers": [], "mistakes": [], "shape": None}
        self._model: Module | None = None
        self._lock = threading.Lock()
        self._server: uvicorn.Server | None = None

    # --- the turns of training

    def on_train_begin(self, run: Run) -> None:
        """Serve the page."""
        self._model = copy.deepcopy(run.model)
        self._model.eval()
        x = run.data.train.x
        self._range = float(x.min()), float(x.max())
        square = x.ndim == 4 and x.shape[1] == 1 and x.shape[2] == x.shape[3]
        image = x.shape[1:] if square and run.data.train.y.dtype.kind in "iu" else None
        self._box = box_of(x) if square else 0
        self.state |= {"epochs": [], "total": run.epochs, "shape": image, "instances": len(x), "done": None}
        self._began, self._before = time.perf_counter(), 0
        self.begin()

    def on_resume(self, run: Run) -> None:
        """Show the epochs before."""
        self.state["epochs"], self._before = [_figures(epoch) for epoch in run.history], run.epoch

    def on_batch_end(self, run: Run) -> None:
        """Say how far it is."""
        seconds = time.perf_counter() - self._began
        seen = (run.epoch - 1 - self._before) * self.state["instances"] + run.seen
        self.state["now"] = {
            "epoch": run.epoch,
            "seen": run.seen,
            "loss": rounded(run.loss),
            "accuracy": run.accuracy,
            "speed": rounded(seen / seconds),
        }

    def on_epoch_end(self, run: Run) -> None:
        """Look at the weights, the gradients, and what is taken for what."""
        assert self._model is not None
        with self._lock:
            self._model.load_state_dict(run.model.state_dict())
            layers, mistakes = self._layers(run), self._mistakes(run)
        epochs = [*self.state["epochs"], _figures(run.history.epochs[-1])]
        self.state |= {"layers": layers, "mistakes": mistakes, "epochs": epochs}

    def on_train_end(self, run: Run) -> None:
        """Say that it has ended; the page stays."""
        self.state["done"] = run.history.stopped or "training has ended"

    # --- what is shown

    def _layers(self, run: Run) -> list[dict[str, Any]]:
        """A histogram of the weights and of the gradients of each parameter."""
        assert self._model is not None
        split = run.data.train
        named = dict(self._model.named_parameters())
        value = self.loss(self._model(split.x[:64]), split.y[:64])
        gradients = walk({value: np.ones_like(value.value)}, wanted=list(named.values()))
        return [
            {"name": name, "weights": _histogram(node.value), "gradients": _histogram(gradients.get(node))}
            for name, node in named.items()
        ]

    def _mistakes(self, run: Run) -> list[dict[str, Any]]:
        """Instances of the validation split that are taken for another class, the surest first."""
        assert self._model is not None
        split = run.data.validation or run.data.train
        shape = self.state["shape"]
        if shape is None or split.y.dtype.kind not in "iu":
            return []
        x, y = split.x[:LOOKED_AT], split.y[:LOOKED_AT]
        shares = Softmax.do_forward(predict(self._model, x), axis=1).value
        taken = shares.argmax(axis=1)
        wrong = np.flatnonzero(taken != y)
        wrong = wrong[np.argsort(-shares[wrong, taken[wrong]])][:MISTAKES]
        low, high = self._range
        return [
            {
                "is": int(y[i]),
                "taken": int(taken[i]),
                "share": rounded(float(shares[i, taken[i]])),
                "pixels": np.round((x[i].reshape(-1) - low) / ((high - low) or 1) * 255).astype(int).tolist(),
            }
            for i in wrong
        ]

    def classify(self, pixels: np.ndarray[Any, Any]) -> list[float]:
        """The share of each class for a drawing, from 0 (paper) to 1 (ink); by the weights of the last epoch's end."""
        assert self._model is not None
        low, high = self._range
        image = low + (high - low) * centred(pixels, self.state["shape"][-1], self._box)
        with self._lock:
            outputs = predict(self._model, image.astype(np.float32)[None, None])
        return [float(v) for v in Softmax.do_forward(outputs, axis=1).value[0]]

    # --- the server

    def begin(self) -> None:
        """Serve the page, if it is not; training does so when it begins."""
        if self._server is not None:
            return

        async def page(request: Request) -> Response:
            return HTMLResponse(files("vugrad.train").joinpath("live.html").read_text(encoding="utf-8"))

        async def events(request: Request) -> Response:
            return StreamingResponse(self._events(), media_type="text/event-stream")

        async def drawing(request: Request) -> Response:
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST:
                    return JSONResponse({"error": "the drawing is too large"}, 413)
            try:
                pixels = np.array(json.loads(body), float)
                if pixels.ndim != 2 or not 1 <= pixels.size <= 10**5 or not np.all(np.isfinite(pixels)):
                    raise ValueError("a drawing is rows of numbers from 0 to 1")
                if self.state["shape"] is None:
                    raise ValueError("the network takes no images of one channel")
            except (ValueError, TypeError) as error:
                return JSONResponse({"error": str(error)}, 400)
            shares = self.classify(np.clip(pixels, 0, 1))
            if not np.all(np.isfinite(shares)):
                return JSONResponse({"error": "the network's outputs are not finite: training has diverged"}, 409)
            return JSONResponse(shares)

        app = Starlette(
            routes=[
                Route("/", page),
                Route("/events", events),
                Route("/drawing", drawing, methods=["POST"]),
            ],
            # So that no other page reaches it by a name of its own.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
        )
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, self.port))
        except (OSError, OverflowError) as error:
            listening.close()
            raise OSError(f"port {self.port} cannot be used ({error}): choose another, or 0 for a free one") from error
        self.address = f"http://{HOST}:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False))
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()

    async def _events(self) -> AsyncIterator[str]:
        """All that is new, as it comes: the whole state after an epoch, and else how far it is."""
        told: Any = None
        while self._server is not None and not self._server.should_exit:
            state = self.state
            mark = (len(state["epochs"]), state["done"], len(state["layers"]))
            if mark != told:
                told = mark
                yield f"data: {json.dumps(state)}\n\n"
            else:
                yield f"data: {json.dumps({'now': state['now']})}\n\n"
            await asyncio.sleep(PAUSE)

    def wait(self) -> None:
        """Until the server is ended, as by Ctrl-C."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(10)
            self._server = None


def _figures(epoch: Epoch) -> dict[str, Any]:
    return {key: rounded(value) if isinstance(value, float) else value for key, value in vars(epoch).items()}


def _histogram(x: Any) -> dict[str, Any] | None:
    if x is None or not np.size(x) or not np.all(np.isfinite(x)):
        return None
    counts = bins(np.asarray(x)) or [int(np.size(x))]
    return {"bins": counts, "low": rounded(float(np.min(x))), "high": rounded(float(np.max(x)))}
