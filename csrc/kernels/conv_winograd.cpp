// filter_planes: see conv_winograd.h.
#include "conv_winograd.h"

namespace chainrule::CHAINRULE_ISA {

namespace {

// Rows of A that lie in lanes: element (r, k) is lane k % size of vec r of lane block k / size.
template <class T>
struct InLanes {
  const T* data;
  i64 block;  // elements from a block to the next
  CHAINRULE_INLINE T operator()(i64 r, i64 k) const {
    return data[k / vec<T>::size * block + k % vec<T>::size + r * vec<T>::size];
  }
};

template <class T>
void transform_weights(Team& team, T* to, const ConvArrays<T>& a, const Filter& f, const FilterCut<T>& cut) {
  const i64 panels = cut.panels(f);
  parallel_for(team, f.groups * panels * f.in, ceil_div(kFlatGrain, kElements * kPanel<T>), [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const i64 panel = i / f.in % panels, k = i % f.in, first = panel * kPanel<T>;
      weight_panel(to + i / f.in * cut.panel + k * kPanel<T>, f.in * kPanel<T>, a.w.at(i / f.in / panels, first, k),
                   a.w.row, at_most(kPanel<T>, f.out - first), f.flip);
    }
  });
}

// The 16 products of one panel of outputs. v: the transformed input, a vec of channels `block` elements from the next.
template <class T>
CHAINRULE_INLINE void panel_products(T* sums, const T* v, i64 block, const T* u, i64 tiles, i64 columns, i64 depth,
                                     const FilterCut<T>& cut) {
  const i64 heights = ceil_div(tiles, i64(kTileRows)), least = tiles / heights, taller = tiles % heights;
  for (int e = 0; e < kElements; e++, sums += cut.out_pitch, v += cut.in_pitch, u += depth * kPanel<T>)
    for (i64 k = 0; k < depth; k += kBlockK)
      for (i64 t = 0, row = 0, rows; t < heights; t++, row += rows) {
        rows = t < taller ? least + 1 : least;
        tile_of<T, kTileRows, kTileVecs>(sums + row * cut.step, cut.step, rows, columns, k > 0,
                                         InLanes<T>{v + k / vec<T>::size * block + row * vec<T>::size, block},
                                         EvenRows<T>{u + k * kPanel<T>, kPanel<T>}, at_most(kBlockK, depth - k));
      }
}

}  // namespace

// marks[image * parts + part] says where an infinity or a NaN came out.
template <class T>
void filter_planes(Team& team, const ConvArrays<T>& a, const Filter& f, T* scratch) {
  constexpr i64 size = vec<T>::size;
  const FilterCut<T> cut(f);
  T* const marks = scratch;
  T* const weights = marks + cut.marks(f);
  transform_weights(team, weights, a, f, cut);
  team.barrier();
  T* const lanes = weights + cut.weights + team.rank() * cut.own;
  T* const v = lanes + cut.lanes;
  T* const sums = v + kElements * cut.in_pitch;
  const i64 parts = cut.down * cut.across, batch = f.products / f.groups, panels = cut.panels(f);
  const T* const bias = a.epilogue.bias;
  RowEpilogue<T> activate{before_moving(a.epilogue)};
  activate.bias = nullptr;  // added while a vec's sums are in registers
  const i64 grain = ceil_div(kFlatGrain * 64, cut.tiles() * kElements * f.in * f.out);
  parallel_for(team, cut.items(f), grain, [&](i64 begin, i64 end) {
    for (i64 i = begin; i < end; i++) {
      const Tiles at = tiles_of(f, cut, i % parts);
      const i64 group = i / parts % f.groups, first = i / parts / f.groups * cut.images;
      const i64 images = at_most(cut.images, batch - first), each = at.rows * at.columns, tiles = images * each;
      for (i64 n = 0; n < images; n++)
        transform_planes(v + n * each * size, cut.in_pitch, tiles * size, a.x + f.x_at((first + n) * f.groups + group),
                         f.x, f.in, f.view, at, lanes, InputTiles());
      const i64 height = at_most(2 * at.rows, f.view.rows - 2 * at.row),
                width = at_most(2 * at.columns, f.view.columns - 2 * at.column);
      const i64 corner = 2 * at.row * f.view.columns + 2 * at.column;
      for (i64 p = 0; p < panels; p++) {
        const i64 columns = round_up(at_most(kPanel<T>, f.out - p * kPanel<T>), size);
        panel_products(sums, v, tiles * size, weights + (group * panels + p) * cut.panel, tiles, columns, f.in, cut);
        for (i64 n = 0; n < images; n++) {
          const i64 product = (first + n) * f.groups + group;
          bool finite = true;
          for (i64 c = 0; c < columns; c += size) {
            const i64 channel = p * kPanel<T> + c, channels = at_most(size, f.out - channel);
            const i64 where = f.y_at(product) + channel * f.y.channel + corner * f.y.pixel;
            if (a.epilogue.residual)
              send_for_part(a.epilogue.residual + where, f.y, f.view.columns * f.y.pixel, channels, height, width);
            const vec<T> offset = bias ? load(bias + group * f.out + channel, channels) : vec<T>(0);
            finite &= output_tiles(lanes, height, width, sums + n * each * cut.step + c, cut.out_pitch, cut.step,
                                   offset, at.rows, at.columns);
            activate(lanes, 0, 0, 1, 0, height * width * size);
            finish_in_image(a.y + where, lanes, size, f.y, f.view.columns * f.y.pixel, channels, height, width,
                            a.epilogue);
          }
          T* const mark = marks + product * parts + i % parts;
          *mark = (p > 0 && *mark != 0) || !finite ? T(1) : T(0);
        }
      }
    }
  });
}

template void filter_planes<float>(Team&, const ConvArrays<float>&, const Filter&, float*);

}  // namespace chainrule::CHAINRULE_ISA
