"""A bundle made ready to predict. Everything is verified before a parser of models sees a byte; no pickle exists here.

The graph is loaded from the very bytes that were hashed, so a file swapped in between or one that refers to other
files cannot slip in.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from feature_store.errors import UnknownService
from feature_store.inputs import REFERENCE_NAMES
from feature_store.scan import Stream
from feature_store.service import FeatureService, service
from feature_store.view import Floats
from lake.bundle import MODEL_FILE, Manifest, verify_bundle
from lake.errors import BitacoraError, BundleRejected
from live.model_version import Version
from market.policy import PolicyParameters

MAX_WINDOW = 512
"""Longest window of feature rows live keeps per instrument."""
TIMEFRAME = "5m"


class Model:
    """One verified version. `predict` is its expected net return over the horizon, a fraction."""

    def __init__(self, version: Version, manifest: Manifest, session: Any, service: FeatureService) -> None:
        self.version, self.manifest, self.service = version, manifest, service
        self._session = session
        self.columns = np.array([service.feature_names.index(name) for name in manifest.features])
        self.window = manifest.window
        self.parameters = PolicyParameters.from_dict(manifest.policy)
        self.cost = manifest.cost_bps_per_side / 10_000

    def select(self, rows: Floats) -> Floats:
        """The newest `window` rows, float64[window, k], in the graph's column order."""
        return np.ascontiguousarray(rows[-self.window :, self.columns])

    def predict(self, selected: Floats) -> float:
        """float64[window, k] to one number.

        Raises:
            BundleRejected: the graph fails on it.
        """
        try:
            (output,) = self._session.run(["prediction"], {"features": selected[np.newaxis]})
        except Exception as error:  # onnxruntime's own classes derive from Exception alone
            raise BundleRejected(f"{self.version}: the graph failed: {error}") from error
        return float(output.reshape(-1)[0])


def load_model(folder: Path, version: Version) -> Model:
    """Verify a bundle on disk and make it ready, the kernels of the feature service it names compiled.

    Raises:
        BundleRejected: a digest, the feature service, the window, the policy or the graph's signature does not fit.
    """
    manifest = verify_bundle(folder, version.manifest_sha256)
    features = _service_of(manifest)
    _check_manifest(manifest, features)
    graph = (folder / MODEL_FILE).read_bytes()
    if hashlib.sha256(graph).hexdigest() != manifest.files[MODEL_FILE]:
        raise BundleRejected(f"{folder.name}/{MODEL_FILE} changed while it was read.")
    try:
        session = onnxruntime.InferenceSession(graph, _options(), providers=["CPUExecutionProvider"])
        _check_signature(session, manifest)
        model = Model(version, manifest, session, features)
        model.predict(np.ones((manifest.window, len(manifest.features))))
        warm_up(features)
    except BundleRejected:
        raise
    except (BitacoraError, ValueError, TypeError) as error:
        raise BundleRejected(f"version {version.model_version}: {error}") from error
    except Exception as error:  # as above
        raise BundleRejected(f"version {version.model_version}: {MODEL_FILE} does not load: {error}") from error
    return model


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def warm_up(features: FeatureService) -> None:
    """Compile or load a service's kernels before the first bar needs them."""
    times = np.arange(2, dtype=np.int64) * features.periods.bar_us
    Stream(features).seed(times, np.ones((2, len(features.given))))


def _service_of(manifest: Manifest) -> FeatureService:
    try:
        found = service(manifest.feature_service)
    except UnknownService as error:
        raise BundleRejected(f"{error}. Train it again, or run the live version it belongs to.") from None
    unheard = sorted(set(found.extras) - REFERENCE_NAMES)
    if unheard or found.timeframe != TIMEFRAME:
        raise BundleRejected(
            f"feature service {found.name}: expected {TIMEFRAME} bars and references, which live hears, "
            f"found {found.timeframe} and {', '.join(unheard) or 'nothing else'}."
        )
    return found


def _check_manifest(manifest: Manifest, service: FeatureService) -> None:
    if manifest.timeframe != service.timeframe:
        raise BundleRejected(f"expected a model of {service.timeframe} bars, found {manifest.timeframe}.")
    if manifest.feature_service_hash != service.content_hash:
        raise BundleRejected(
            f"expected feature service {service.content_hash:.12}, found {manifest.feature_service_hash:.12}: "
            "it was trained on other features. Train it again, or run the live version it belongs to."
        )
    unknown = sorted(set(manifest.features) - set(service.feature_names))
    if unknown or not manifest.features:
        raise BundleRejected(f"features {unknown or manifest.features}: expected columns of {service.name}.")
    if not 1 <= manifest.window <= MAX_WINDOW:
        raise BundleRejected(f"window {manifest.window}: expected 1 to {MAX_WINDOW}.")
    if not 0 <= manifest.cost_bps_per_side < 1000:
        raise BundleRejected(f"cost of {manifest.cost_bps_per_side} bps per side: expected 0 to 1000.")


def _check_signature(session: Any, manifest: Manifest) -> None:
    inputs = [(i.name, i.type) for i in session.get_inputs()]
    outputs = [(o.name, o.type) for o in session.get_outputs()]
    if inputs != [("features", "tensor(double)")] or outputs != [("prediction", "tensor(float)")]:
        raise BundleRejected(f"signature: expected features double to prediction float, found {inputs} to {outputs}.")
    window, width = session.get_inputs()[0].shape[1:]
    if [window, width] != [manifest.window, len(manifest.features)]:
        expected = f"[batch, {manifest.window}, {len(manifest.features)}]"
        raise BundleRejected(f"signature: expected {expected}, found [batch, {window}, {width}].")
