"""The trading process: feed, features, model, decision, risk, orders, journal, reconciliation."""
