"""8 x 8 digits in one evaluation of the network, learnt from the quickstart's run.

python launch.py --config configs/quickstart.py
python launch.py --config configs/digits_distilled.py
"""

from configs import quickstart


def get_config():
    config = quickstart.get_config()
    config.teacher.run = config.init.run = "runs/quickstart"
    config.objective.name = "continuous_distillation"
    config.objective.continuous_distillation.warmup = 200
    config.loss.class_dropout = 0.0
    config.guidance.name = "none"
    config.noise_cond.name = "time"
    config.noise_cond.time.scale = 10.0
    config.optim.update(lr=1e-3, warmup=50, decay="cosine")
    config.train.update(steps=800, batch=64, log_every=50, save_every=200, sample_every=400)
    config.sampler.name = "consistency"
    config.timesteps.name = "trailing"
    config.sample.steps = 1
    return config
