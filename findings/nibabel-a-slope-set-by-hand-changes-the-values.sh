#!/usr/bin/env bash
# A slope that is set in the header of a nibabel image is written beside the values, not divided out of them: the file says something else than the image.
#
# One would guess: img.header.set_slope_inter(slope, inter) chooses how the values of an image are stored (steps of 0.5 from 10 on); what the image
# gives, the file gives again, as where no slope is set and nibabel chooses one itself.
# What happens: img.get_fdata() is as before, so nothing is seen. The file has the image's numbers as they are, with the slope beside them: read back they
# are slope * value + inter. It is so for images of integers and for images of floats that are stored as integers.
# So to keep slope and intercept of a scan (its units) while its values change, the stored numbers have to be computed by hand.
# Versions: nibabel 5.4.2, numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q nibabel==5.4.2 numpy==2.4.6
v/bin/python - <<'PY'
import sys
import nibabel
import numpy as np


def there_and_back(kind, scaled):
    image = nibabel.Nifti1Image(np.array([[[10, 20, 30]]], kind), np.eye(4))
    image.header.set_data_dtype(np.int16)
    if scaled:
        image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, "a.nii")
    before, after = image.get_fdata().ravel().tolist(), nibabel.load("a.nii").get_fdata().ravel().round(3).tolist()
    print(f"{np.dtype(kind).name:8} slope {'0.5, 10 by hand' if scaled else 'left to nibabel'}: the image says {before}, its file {after}")
    return before, after


left = [there_and_back(kind, False) for kind in (np.int16, np.float64)]
by_hand = [there_and_back(kind, True) for kind in (np.int16, np.float64)]
kept = all(before == after for before, after in left)
sys.exit(0 if kept and all(before == [10, 20, 30] and after == [15, 20, 25] for before, after in by_hand) else 1)
PY
