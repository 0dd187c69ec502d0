// Imported before the lab: these tests format drives, which must not be those that somebody works with.
process.env.CARBONADO_LAB ??= 'csitest'
