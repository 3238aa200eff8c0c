"""Comparing what two readers see, in the patient's space."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK


def check_same(
    ours: npt.NDArray[np.generic],
    our_affine: npt.NDArray[np.float64],
    theirs: npt.NDArray[np.generic],
    their_affine: npt.NDArray[np.float64],
) -> None:
    """Both say the same of every place in the patient, however far either grid goes."""
    step = np.linalg.solve(our_affine, their_affine)
    at = np.argwhere(theirs)
    exact = at @ step[:3, :3].T + step[:3, 3]
    places = np.rint(exact).astype(int)
    assert np.abs(exact - places).max(initial=0) < 0.02
    assert places.min(initial=0) >= 0
    moved = np.zeros(ours.shape)
    moved[tuple(places.T)] = theirs[tuple(at.T)]
    assert np.allclose(ours, moved, rtol=0, atol=1e-6)


def affine_of(image: SimpleITK.Image) -> npt.NDArray[np.float64]:
    """Of ``(slice, row, column)``, as ITK keeps it: LPS, columns first."""
    directions = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3] = directions[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine
