#!/bin/sh
# A first model: DCGAN on the embedded handwritten digits, then samples and a walk through its latent space.
set -eu
genzoo=${GENZOO:-genzoo}
steps=${STEPS:-600}
$genzoo train dcgan data=digits steps="$steps" name=demo
run=$(ls -td runs/demo runs/demo-* 2>/dev/null | head -n 1)
$genzoo sample "$run" n=64 seed=1
$genzoo walk "$run" seed=1
echo "The pictures are in $run: samples/ and training.gif show the training, outputs/ the samples and the walk."
