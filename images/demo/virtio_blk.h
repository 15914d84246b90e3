/* virtio block devices. */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

void virtio_blk_init(void);

#endif
