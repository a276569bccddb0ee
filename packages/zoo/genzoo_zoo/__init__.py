"""Trained models for genzoo, one folder each: `genzoo sample zoo:NAME`. There is no code here."""
