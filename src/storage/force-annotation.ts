/** On a volume that is being deleted: do not wait for nodes that are not Ready; what lies there is left over. */
export const forceAnnotation = 'carbonado.io/force-delete'
