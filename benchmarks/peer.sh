#!/bin/sh
# Makes .peer/, the environment of RecBole 1.2.1, which needs older libraries than gaterec does. Same torch as gaterec's.
set -eu
cd "$(dirname "$0")/.."
rm -rf .peer
"${PYTHON:-python3}" -m venv .peer
.peer/bin/python -m pip install -q -c constraints.txt \
    recbole==1.2.1 'setuptools<80' 'numpy<2' 'pandas<2.2' 'scipy<1.13' 'scikit-learn<1.5' hyperopt
.peer/bin/python -c 'import recbole.quick_start'
touch .peer/.ready
