import pytest

from helpers.settings import ROOT, Settings, SettingsError


def test_defaults_are_the_drawn_set_on_the_embedded_aws():
    settings = Settings.of()
    assert (settings.target, settings.data, settings.weights) == ("local", "", "none")
    assert settings.tags == {"project": "dog-breeds"}


def test_parameters_win_over_the_environment_and_none_leaves_it_be(monkeypatch):
    monkeypatch.setenv("DOGS_PROJECT", "from-shell")
    monkeypatch.setenv("DOGS_EPOCHS", "7")
    settings = Settings.of(project="from-notebook", epochs=None)
    assert (settings.project, settings.epochs) == ("from-notebook", 7)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("project", "Dogs!", "lower-case letters"),
        ("project", "x" * 30, "3 to 14"),
        ("target", "azure", "'local' or 'aws'"),
        ("region", "mars", "us-east-1"),
        ("data", "no/such.zip", "does not exist"),
        ("weights", "no/such.pth", "does not exist"),
        ("epochs", -1, "greater than or equal to 0"),
        ("epochs", "many", "valid integer"),
        ("budget_usd", -1, "greater than 0"),
        ("spot_instance_count", 1, "greater than or equal to 2"),
        ("budget_usd", 0, "greater than 0"),
        ("budget_usd", float("inf"), "finite"),
        ("tuning_trials", 1000, "less than or equal to 100"),
        ("epochs", True, "neither a number nor a text"),
        ("project", 3, "valid string"),
        ("region", "us-east-11", "looks like us-east-1"),
        ("region", "us-east-3", "did you mean 'us-east-"),
        ("email", "me", "name@example.com"),
        ("notebook", "perhaps", "valid boolean"),
        ("pace", 0, "greater than 0"),
        ("compared", 0, "greater than 0"),
        ("colour", "brown", "there is no setting 'colour'"),
        ("projct", "dogs", "did you mean 'project'?"),
    ],
)
def test_bad_values_are_refused_with_a_sentence(name, value, says):
    with pytest.raises(SettingsError) as raised:
        Settings.of(**{name: value})
    assert name in str(raised.value)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_notebook_shows_the_sentence_and_no_more():
    with pytest.raises(SettingsError) as raised:
        Settings.of(epochs=-1)
    assert raised.value._render_traceback_() == [
        "SettingsError: epochs = -1 cannot be: input should be greater than or equal to 0"
    ]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("region", "eu-central-1", "eu-central-1"),
        ("region", "cn-north-1", "cn-north-1"),
        ("epochs", "3", 3),
        ("budget_usd", "2.5", 2.5),
        ("notebook", "False", False),
        ("email", "me@example.com", "me@example.com"),
        ("pace", 20, 20.0),
    ],
)
def test_what_papermill_gives_as_text_is_converted(name, text, value):
    assert getattr(Settings.of(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("file", "architecture"), [("mobilenet_v2.pth", "mobilenet_v2"), ("resnet50-0676ba61.pth", "resnet50")]
)
def test_the_weights_file_names_the_architecture(tmp_path, file, architecture):
    (tmp_path / file).touch()
    settings = Settings.of(weights=str(tmp_path / file))
    assert settings.model_architecture == architecture
    assert settings.pretrained
    assert Settings.of(weights=str(tmp_path / file), architecture="resnet18").model_architecture == "resnet18"


def test_relative_paths_start_at_the_checkout():
    assert Settings.of(data="tests").path("tests") == ROOT / "tests"
