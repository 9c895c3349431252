"""The checker that jaxtyping calls while tests run: beartype, with the rule of PEP 484 that an int is a float."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
