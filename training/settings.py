"""Training's settings: where runs and versions are kept. Prefix `TRAINING_`."""

from pydantic_settings import BaseSettings, SettingsConfigDict

from lake.settings import HomeSettings


class TrainingSettings(BaseSettings):
    """Read once in `main`."""

    model_config = SettingsConfigDict(env_prefix="TRAINING_", frozen=True, extra="ignore")

    tracking_uri: str = ""
    """MLflow: http://host:port of a server, or a database; empty means SQLite under BITACORA_HOME/mlflow."""
    registered_model: str = "bitacora"
    """The name all kinds of model compete under; its alias `champion` is what live trades."""
    experiment: str = "bitacora"
    """MLflow experiment the runs go to."""
    threads: int = 1
    """CPU threads of one fit. Trees gain nothing from more at this size, and lose much on a busy machine."""

    def tracking(self, home: HomeSettings) -> str:
        """The tracking address to use."""
        return self.tracking_uri or f"sqlite:///{(home.home / 'mlflow' / 'mlflow.db').resolve()}"
