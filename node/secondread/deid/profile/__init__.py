"""The confidentiality profile of PS3.15 Annex E, for objects that leave the house."""
