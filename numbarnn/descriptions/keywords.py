"""Misspelt keyword arguments: the error names the right one, also for names that other libraries use."""

import difflib
import functools
import inspect
import sys

from .docstrings import is_public

# Names elsewhere, and what stands for them here: a parameter, or one with a value, if the function has it; or a sentence.
ANSWERS = (
    ("lr learning_rate learningrate step_size eta", "rate", "optimizer=nr.Adam(rate)", "an optimizer has it: nr.Adam(rate)"),
    ("units hidden_size hidden_dim hidden_units num_units n_units num_hidden n_hidden neurons", "hidden", "units", "size"),
    ("out_features output_size output_dim out_channels features", "units", "hidden", "size"),
    ("hidden", "units", "size"),
    ("num_layers n_layers nb_layers depth", "layers"),
    (
        "input_size input_dim in_features in_channels input_channels n_features num_features input_shape n_inputs",
        "channels", "vocabulary", "the channels of the input are an argument of Network, and of init",
    ),
    ("channels", "the channels of the input are an argument of Network, and of init"),
    ("dropout_rate dropout_prob drop_rate drop p dropout", "dropout", "rate"),
    ("random_state random_seed rng generator", "seed"),
    ("batch_first time_major", 'layout="ntc"', 'a network, and the call of a layer, have layout="ntc"'),
    ("bias use_bias", "every layer has its biases"),
    ("return_sequences", "nr.Last() after the layer takes the last step; without it there are all steps"),
    ("return_state", "a layer returns its output and its state"),
    ("stateful", "a state goes in and comes out: y, state = layer(p, x, state)"),
    ("nonlinearity act act_fn activation_fn activation_function", "activation"),
    ("recurrent_activation inner_activation", "gate_activation"),
    ("proj_size projection_size num_proj", "projection"),
    ("use_peepholes peephole", "peepholes"),
    ("layer_norm layernorm use_layer_norm normalize", "normalized"),
    ("merge_mode", "merge"),
    ("reset_after linear_before_reset", 'reset="after"'),
    ("unit_forget_bias", "forget_bias"),
    ("num_embeddings vocab_size vocabulary_size n_vocab num_words max_words", "vocabulary", "size"),
    ("embedding_dim embedding_size", "size"),
    ("padding_idx mask_zero", "lengths=, or a Ragged, leaves padding out"),
    ("weight_decay wd l2", "AdamW has weight decay: nr.AdamW(rate, decay=0.01)"),
    ("betas", "beta1=0.9, beta2=0.999"),
    ("b1 beta_1", "beta1"),
    ("b2 beta_2", "beta2"),
    ("eps", "epsilon"),
    ("rho", "decay"),
    ("alpha leak leak_rate leaking_rate", "decay", "rate", "forcing"),
    ("teacher_forcing teacher_forcing_ratio scheduled_sampling forcing", "feedback=nr.Feedback(forcing)"),
    ("strength ratio probability", "forcing"),
    ("interval k tau", "every"),
    ("gamma", "factor", "final"),
    ("min_lr eta_min end_value", "least", "final"),
    ("T_max decay_steps total_steps num_training_steps", "a schedule is told how many updates there are"),
    ("warmup_steps num_warmup_steps steps", "updates"),
    ("verbose show_progress progress_bar", "progress"),
    ("validation_data val_data valid validation_set eval_set", "validation=(x, y)"),
    ("validation_split", "validation=(x, y)"),
    ("batchsize batch minibatch mini_batch_size bs", "batch_size", "batch"),
    ("batch_size", "batch", "it is an argument of fit"),
    ("n_epochs num_epochs nb_epoch nb_epochs epoch max_epochs max_iter n_iter iterations", "epochs"),
    ("epochs", "it is an argument of fit"),
    ("criterion loss_fn loss_function objective", "loss"),
    ("opt optim optimiser solver", "optimizer"),
    ("loss optimizer", "it is an argument of fit"),
    ("clipnorm clip_norm max_norm max_grad_norm grad_clip gradient_clip gradient_clip_val clipvalue", "clip"),
    ("callback", "callbacks"),
    ("patience early_stopping", "stopping=nr.EarlyStopping(patience)", "callbacks=[nr.EarlyStopping(patience)]"),
    ("metric", "metrics", "monitor"),
    ("window window_size lookback look_back seq_len seq_length sequence_length", "steps", "lengths"),
    ("timesteps time_steps n_steps num_steps", "steps"),
    ("horizon n_ahead length maxlen max_length", "steps", "lengths"),
    ("seq_lens seq_lengths sequence_lengths input_lengths lens", "lengths"),
    ("X input inputs data", "x", "series", "start"),
    ("y_pred pred predictions logits output", "prediction", "y"),
    ("Y y_true labels targets target", "y", "target"),
    ("y", "target"),
    ("h0 hx h_0 initial_state initial_states init_state hidden_state", "state"),
    ("data_format axes order", "layout"),
    ("precision datatype", "dtype"),
    ("gpu cuda use_gpu", 'device="cuda"'),
    ("init initializer kernel_initializer weight_init", "scheme"),
    ("difference threshold tol tolerance", "min_delta"),
    ("restore_best_weights restore_best", "restore"),
    ("n_iter_no_change", "patience"),
    ("ignore_label", "ignore_index"),
    ("sample_weight sample_weights", "weights"),
    ("class_weight weight", "class_weights", "weights"),
    ("label_smoothing", "smoothing"),
    ("quantiles quantile q taus tau", "levels"),
    ("min_count min_freq", "least"),
    ("padding truncating side", "at"),
    ("pad_value fill_value fill", "value"),
    ("filename filepath file_name fname file f", "path"),
    ("map_location", "device"),
    ("custom_objects allow safe", "trusted"),
    ("max_new_tokens n_tokens max_length steps num_chars", "length"),
    ("prefix text start context", "prompt"),
    ("vocab tokenizer", "vocabulary"),
)  # fmt: skip
ELSEWHERE = {}
for words, *answers in ANSWERS:
    for word in words.split():
        ELSEWHERE.setdefault(word, []).extend(answers)


def advice(name, known):
    """What to write in the place of an unknown keyword, as the end of a sentence; nothing if nothing is like it."""
    for answer in ELSEWHERE.get(name, ()):
        parameter = answer.partition("=")[0]
        if parameter in known:
            return f"; did you mean {answer}?"
        if not parameter.isidentifier():
            return f"; {answer}"
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def guarded(function, called):
    """`function`, raising a TypeError that names the right keyword for a wrong one, before anything else happens.

    called : str
        What the error calls it; ``{}`` in it stands for the class of the first argument.
    """
    code = inspect.unwrap(function).__code__
    if code.co_flags & inspect.CO_VARKEYWORDS:
        return function
    names = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    shown, known = [name for name in names if name != "self" and name != "cls"], frozenset(names)

    @functools.wraps(function)
    def call(*arguments, **keywords):
        if keywords and not known.issuperset(keywords):
            wrong = next(name for name in keywords if name not in known)
            own = arguments[0] if arguments else None
            name_of = called.format((own if inspect.isclass(own) else type(own)).__name__)
            expected = f"expected {'one of ' * (len(shown) > 1)}{', '.join(shown)}" if shown else "expected none"
            raise TypeError(f"{wrong}: unknown argument of {name_of}, {expected}{advice(wrong, shown)}")
        return function(*arguments, **keywords)

    call.is_guarded = True
    return call


def _guard_class(cls, constructor, untouched):
    """Guard the constructor of a class, and its public methods that have parameters (is modified)."""
    for name, member in list(vars(cls).items()):
        wrapped = isinstance(member, (classmethod, staticmethod))
        function = member.__func__ if wrapped else member
        if not inspect.isfunction(function) or hasattr(function, "is_guarded") or f"{cls.__name__}.{name}" in untouched:
            continue
        if name == "__init__":
            if constructor:
                setattr(cls, name, guarded(function, "{}"))
        elif (name == "__call__" or is_public(name, member)) and set(function.__annotations__) - {"return"}:
            found = guarded(function, "{}" if name == "__call__" else f"{{}}.{name}")
            setattr(cls, name, type(member)(found) if wrapped else found)


def guard(namespace, names, untouched=(), made=()):
    """Guard the public functions, classes and modules called `names` in a package's namespace (is modified).

    untouched : sequence of str
        Names, or methods as ``Class.method``, whose functions are compiled, or take a microsecond.
    made : sequence of str
        Classes that the library makes: their methods are guarded, not their constructors.
    """
    package = namespace["__name__"]
    for name in names:
        value = namespace[name]
        if name in untouched or inspect.isclass(value) and issubclass(value, BaseException):
            continue
        if inspect.isclass(value):
            for base in value.__mro__:
                if base.__module__.startswith(f"{package}."):
                    _guard_class(base, name not in made, untouched)
        elif inspect.ismodule(value):
            for own, function in list(vars(value).items()):
                inside = f"{getattr(function, '__module__', '')}.".startswith(f"{value.__name__}.")
                if inspect.isfunction(function) and inside and not own.startswith("_"):
                    found = guarded(function, f"{value.__name__.rpartition('.')[2]}.{own}")
                    setattr(value, own, found)
                    setattr(sys.modules[function.__module__], own, found)  # so that it is pickled under its name
        elif inspect.isfunction(value):
            namespace[name] = guarded(value, name)
            setattr(sys.modules[value.__module__], name, namespace[name])  # so that it is pickled under its name
