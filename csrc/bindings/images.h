// Images (batch, channels, h, w) whose memory is in either of PyTorch's formats. A channels_last array has the strides
// of a contiguous (batch, h, w, channels) array: pixels are what lies together.
#pragma once
#include "bindings/arrays.h"

namespace chainrule {

// channels_last where the strides, as they are written, ascend from the channels over columns and rows to the images:
// PyTorch's rule, but for the stride of the batch, which isn't looked at where there is one image, or none. So images
// of one channel or one pixel have a format too, and so have views that leave out some pixels. channels_first: all
// else.
Format format_of(const py::array& x);

// An input of four dimensions in the format that it has, or in the given one: what lies otherwise is copied, a view
// that leaves out some pixels of channels_last images into that format.
template <class T>
struct Images : Input<T> {
  Format format;
};
template <class T>
Images<T> images(const char* op, const char* arg, py::handle x);
template <class T>
Images<T> images(const char* op, const char* arg, py::handle x, const Shape& shape, Format format);

// A fresh uninitialised array of images.
template <class T>
py::array empty_images(const char* op, const Shape& shape, Format format);

}  // namespace chainrule
