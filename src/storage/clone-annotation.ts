/**
 * On a snapshot that control made of a volume so that a clone of it can be copied to another drive: the clone's name. It
 * goes when the clone has been copied, or is not wanted any more.
 */
export const cloneAnnotation = 'carbonado.io/copied-to'
