"""Labels, splits, datasets, models (a file each), evaluation, gate, promotion. Nothing else imports mlflow."""
