"""`python -m drainproof.load.engine`: started by `drainproof.load.driver`, never by hand."""

from drainproof.load.engine.zygote import main

main()
