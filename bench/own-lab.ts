// Imported before the lab: benchmarks have a lab of their own and leave alone the one that somebody works with.
process.env.CARBONADO_LAB ??= 'bench'
