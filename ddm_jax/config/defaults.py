"""All defaults on one page.

A choice has a name and a section for each row of its table; here stands the default row. The other
rows and their settings are printed by `python launch.py --config configs/base.py --dry_run`. A test
holds this page equal to the dataclasses.
"""

from typing import Any

COMMON: dict[str, Any] = {
    "seed": 0,  # of the first weights, the order of the data and every draw of training
    "data": {
        # digits, shapes, photo[:flower], tfds:<name>, folder:<path>; waves: tones, waves:<path>;
        # clips: moving_shapes, clips:<path>; volumes: solids; points in the plane: moons, rings,
        # checkerboard, swiss_roll, mixture
        "name": "digits",
        "split": "train",  # of a TFDS set
        "dir": "",  # where TFDS keeps prepared data; "" for its own default
        "downloads": "",  # a folder of original files to prepare TFDS data from
        "size": (),  # pixels after resizing, 32 or 24,32 (height, width); () for the data's own
        "channels": 0,  # 1 or 3; 0 for the data's own
        "rate": 0,  # samples a second of waves, whose size is in samples; 0 for the data's own
        "frames": 0,  # of a clip; 0 for the data's own
        "count": 20000,  # synthetic examples to draw
        "without": (),  # names of classes whose examples are left out
        "embeddings": "",  # an .npy or .npz with a vector for each example
        "strict": False,  # stop at the first bad file of a folder
        "on_device": False,  # keep the whole set on the accelerator
        "cache": "",  # folder of decoded copies; "" for the user's cache folder
    },
    "optim": {
        "name": "adam",  # adam, adamw, muon (adam for what is no kernel), sgd
        "lr": 2e-4,
        "warmup": 0,  # steps in which the rate rises
        "decay": "constant",  # after that: constant, linear, cosine
        "clip": 1.0,  # largest global norm of the gradient; 0: any
        "b1": 0.9,
        "b2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.0,  # of adamw, and of the kernels of muon
    },
    "average": {  # of the weights, that samples are drawn with
        "name": "ema",  # ema, half_life (in images), power (of any length after training)
        "ema": {
            "decay": 0.9999,
            "warmup": True,  # early averages forget the first weights faster
        },
    },
    "train": {
        "steps": 10000,
        "batch": 128,  # examples a step, over all devices
        "accumulate": 1,  # parts of a batch, one after the other
        "deterministic_shards": 0,  # 0, or parts that make any devices agree to the bit
        "layout": "replicated",  # every device keeps the state; sharded: a part of it each
        "fsdp": 0,  # of sharded, how many devices in a row share a state; 0: all
        "log_every": 100,
        "save_every": 1000,
        "sample_every": 2000,  # a grid of samples; 0: at the end alone
        "evaluate_every": 0,  # the metrics of evaluate; 0: never
        "keep": 2,  # newest checkpoints that stay
        "keep_every": 0,  # those at its multiples stay too; 0: none
        "steps_per_call": 1,  # of the compiled program, without a word to the host between them
        "hang_timeout": 3600.0,  # seconds without a step that end a run; 0: never
        "on_bad_step": "stop",  # what follows steps that are not finite: stop, skip, rollback
        "bad_steps": 1,  # so many of them in a row
    },
    "init": {"run": ""},  # a run whose weights the first ones are taken from, as far as they fit
}

CODEC: dict[str, Any] = {  # between the values of the data and the x of diffusion
    "name": "pixels",  # or latent, of an autoencoder's run
    "pixels": {"scaling": "unit"},  # to [-1, 1]; fitted: to zero mean and unit variance
}

DIFFUSION: dict[str, Any] = {
    "task": "diffusion",
    "codec": CODEC,
    "augment": {"name": "none", "none": {}},  # none, mirror, geometric: of examples
    "model": {
        "name": "ddpm_unet",
        "ddpm_unet": {
            "channels": 128,  # of the first level
            "multipliers": (1, 2, 2, 2),  # of the channels, one a level
            "blocks": 2,  # residual blocks a level
            "patch": 1,  # pixels a side folded into channels at the input, for speed
            "attention": (16,),  # sizes at which attention follows the blocks
            "heads": 1,  # of attention
            "dropout": 0.1,
            "scale_shift": False,  # the noise embedding scales and shifts instead of being added
            "resample": "conv",  # conv, or block: in a residual block
            "dtype": "float32",  # or bfloat16, where devices have units; weights stay float32
            "remat": False,  # recompute blocks in the backward pass to save memory
            "groups": 0,  # of the norms; 0: 32, or fewer so that each has at least 4 channels
            "space_time": "joint",  # or factorised: the first axis is time, frames are convolved
        },
    },
    "schedule": {
        "name": "cosine",
        "cosine": {
            "num_timesteps": 1000,  # T, for all that count timesteps
            "s": 0.008,  # offset at the least noisy level
            "max_beta": 0.999,
            "zero_terminal": False,  # end without signal
        },
    },
    "prediction": {"name": "eps", "eps": {}},  # what the network predicts
    "noise_cond": {"name": "timestep", "timestep": {"scale": 1.0}},  # what it is told of the noise
    "condition": {"name": "nothing", "nothing": {}},  # what it is told beside
    "time_sampler": {"name": "uniform", "uniform": {}},  # density of training times
    "objective": {"name": "weighted", "weighted": {}},
    "weighting": {"name": "simple", "simple": {"space": "own"}},  # of squared errors over time
    "distance": {"name": "l2", "l2": {}},  # between the estimate and the truth
    "loss": {
        "class_dropout": 0.0,  # how often the class is replaced by the null class
        "uniforms": "independent",  # how a batch draws: independent, antithetic, stratified
    },
    "teacher": {"run": ""},  # the run that an objective learns from: teacher, progressive
    "sampler": {"name": "ddim", "ddim": {"eta": 0.0}},  # eta: how much of its noise is drawn
    "timesteps": {"name": "uniform", "uniform": {}},  # the sampling grid
    "guidance": {"name": "none", "none": {}},  # none, classifier_free, auto, classifier
    "sample": {
        "count": 64,
        "batch": 64,
        "steps": 50,  # times of the grid
        "evaluations": 0,  # of the network, from which the steps follow; 0: as steps says
        "seed": 0,
        "clip": "static",  # estimates to the data's range: none, static, dynamic
        "ask": (),  # prompts, names of classes or files of pictures, dealt to the images in turn
        "classes": (),  # classes by their indices; () for all
        "avoid": "",  # what classifier_free leads away from; "" for no condition
        "film": 0,  # of how many images the way from noise is drawn
    },
    "evaluate": {
        "metrics": ("bound", "ode"),
        "count": 128,  # examples
        "batch": 64,
        "split": "",  # "" for the test split where there is one
        "seed": 0,
        "samples": 2000,  # drawn for the metrics of sets
        "source": "",  # a folder or an .npz of samples to measure instead
        "conditions": "data",  # of samples: those of the reference's examples, or as asked
        "reference": "",  # an .npz with the moments of features; "" for the data
        "reference_split": "train",
        "reference_count": 10000,  # 0: all
        "weights": "averaged",  # or raw
        "steps": 0,  # times of the variational bound; 0: all levels
        "variance": "large",  # of the bound where the network learned none: small, large
        "decoder": "x0",  # its last variance: x0, or published
        "ode_steps": 50,
        "trace": "rademacher",  # of the ODE's divergence: rademacher, normal, exact
        "probes": 1,
    },
    "features": {"name": "pixels", "pixels": {}},  # what samples and data are compared by
    "doctor": {  # what --mode doctor examines
        "examples": 256,  # of the data, that losses are taken on
        "levels": 10,  # noise levels, at equal shares of the training times
        "samples": 64,  # to compare with the data; 0: none
        "batch": 64,
        "seed": 0,
        "reference": "",  # a file with a curve of the same config; "" for the one that ships
        "write": "",  # a file to write this run's curve to; "" for none
    },
    "edit": {
        "name": "interpolate",  # interpolate, sdedit, invert, inpaint, upscale
        "interpolate": {
            "pair": (0, 1),  # images between whose noises it walks
            "frames": 24,
            "between": "noises",  # of samples, or examples: those behind training images
            "image": "",  # two pictures of yours instead, with a comma between them
        },
    },
}

CLASSIFIER: dict[str, Any] = {
    "task": "classifier",
    "codec": CODEC,
    "augment": DIFFUSION["augment"],
    "model": {
        "name": "unet_encoder",
        "unet_encoder": {
            "channels": 32,  # of the first level
            "multipliers": (1, 2),
            "blocks": 1,
            "patch": 1,  # blocks of pixels folded into channels, for speed
            "attention": (),
            "heads": 4,  # of attention, that of the pooling too
            "dropout": 0.1,
            "scale_shift": True,
            "resample": "conv",
            "dtype": "float32",
        },
    },
    "schedule": DIFFUSION["schedule"],
    "noise_cond": DIFFUSION["noise_cond"],
    "time_sampler": DIFFUSION["time_sampler"],
    "classifier": {
        "noisy": True,  # False: of examples as they are
        "uniforms": "stratified",
    },
    "evaluate": {
        "metrics": ("accuracy",),
        "count": 0,  # examples; 0: all
        "batch": 256,
        "split": "",  # "" for the test split where there is one
        "seed": 0,
        "weights": "averaged",  # or raw
        "levels": 11,  # times from 0 to 1
    },
}

AUTOENCODER: dict[str, Any] = {
    "task": "autoencoder",
    "augment": DIFFUSION["augment"],
    "model": {
        "name": "conv",
        "conv": {
            "channels": 64,  # of the first level
            "multipliers": (1, 2, 2),  # one a level; each level but the first halves the size
            "blocks": 1,  # residual blocks a level
            "latent": 4,  # channels of the latents
            "pad": 0,  # pixels that the edges are repeated by, for sizes that do not divide
            "attention": True,  # in the middle
            "heads": 1,
            "dtype": "float32",
        },
    },
    "bottleneck": {"name": "kl", "kl": {"weight": 1e-6}},  # of nats an element; kl, vq
    "distance": {"name": "l1", "l1": {}},  # between examples and their reconstructions
    "perception": {"name": "none", "none": {}},  # or lite0: what a network sees in both
    "adversary": {"name": "none", "none": {}},  # or patches: a critic that tells them apart
    "evaluate": {
        "metrics": ("psnr", "ssim"),
        "count": 0,  # examples; 0: all
        "batch": 256,
        "split": "",  # "" for the test split where there is one
        "seed": 0,
        "weights": "averaged",  # or raw
    },
}

TASKS = DIFFUSION, CLASSIFIER, AUTOENCODER
DEFAULTS = {section["task"]: {**COMMON, **section} for section in TASKS}
