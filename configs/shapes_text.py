"""Shapes from text: 16 x 16 RGB, a caption each, four pairs of colour and shape never seen.

python launch.py --config configs/shapes_text.py
python launch.py --mode sample --workdir runs/shapes_text --prompt "a large red circle"

29 minutes on two cores with other work beside it. At scale 3 of guidance colour and shape are right
for 97.9 % of captions of pairs that were seen, and for 89.6 % of those that were not; places are
right for a third, and nearly all with the frozen vectors of --config.condition.name=wordllama. See
experiments/guidance_tradeoff. Captions are read in parts of words, which needs the extra text.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.update(
        name="shapes",
        size=(16,),
        count=24_000,
        without=("red circle", "yellow square", "blue triangle", "white circle"),
    )
    config.model.ddpm_unet.update(
        channels=48,
        multipliers=(1, 2),
        blocks=1,
        patch=2,
        attention=(8, 4),
        heads=4,
        dropout=0.0,
        scale_shift=True,
    )
    config.condition.name = "bpe"
    config.condition.bpe.update(length=20, channels=64, token_dropout=0.1)
    config.prediction.name = "v"
    config.loss.class_dropout = 0.1
    config.optim.update(lr=2e-3, warmup=200, decay="cosine")
    config.average.ema.decay = 0.998
    config.train.update(steps=6000, batch=32, log_every=100, save_every=500, sample_every=2000)
    config.sample.update(
        count=64,
        batch=64,
        steps=25,
        ask=(
            "a large red square on a black background",
            "a small green circle at the top left on a white background",
            "a large purple triangle at the right on a yellow background",
            "a small cyan square at the bottom on a red background",
            "a large red circle on a blue background",
            "a small yellow square at the top on a purple background",
            "a large blue triangle on a green background",
            "a small white circle at the bottom right on a black background",
        ),
    )
    config.sampler.name = "dpmpp_2m"
    config.guidance.name = "classifier_free"
    config.guidance.classifier_free.scale = 3.0
    return config
