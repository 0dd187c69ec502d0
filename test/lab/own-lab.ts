// Imported before the lab: these tests take labs down, which must not be the one that somebody works with.
process.env.CARBONADO_LAB ??= 'test'
