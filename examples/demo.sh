#!/bin/sh
# Trained models that come along, each drawing; then a first model of one's own: DCGAN on the embedded handwritten digits, samples and a walk.
set -eu
genzoo=${GENZOO:-genzoo}
steps=${STEPS:-600}
$genzoo zoo out=zoo-page/index.html overwrite=true || echo "The page of trained models was left out; the demo goes on."
# Every call makes a run of its own: demo, demo-2, demo-3 ...
name=demo number=1
while [ -e "runs/$name" ]; do
    number=$((number + 1))
    name="demo-$number"
done
run="runs/$name"
$genzoo train dcgan data=digits steps="$steps" width=32 ema=0.99 name="$name"
$genzoo sample "$run" n=64 seed=1
$genzoo walk "$run" seed=1
echo "The pictures are in $run: samples/ and training.gif show the training, outputs/ the samples and the walk."
