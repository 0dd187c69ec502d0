// Imported before the lab: these tests break things, which must not happen to the lab that somebody works with. Files run
// side by side, each worker with a lab of its own.
process.env.CARBONADO_LAB = `${process.env.CARBONADO_LAB ?? 'kubernetes'}${process.env.VITEST_POOL_ID ?? ''}`
