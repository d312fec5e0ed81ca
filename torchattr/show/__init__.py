"""From arrays to pictures."""

from torchattr.show.arrays import as_picture as as_picture
from torchattr.show.channels import reduce_channels as reduce_channels
from torchattr.show.colors import DIVERGING as DIVERGING
from torchattr.show.colors import SEQUENTIAL as SEQUENTIAL
from torchattr.show.colors import color_bar as color_bar
from torchattr.show.colors import colormap as colormap
from torchattr.show.explain_panel import panel as panel
from torchattr.show.grid import convert_into_grid as convert_into_grid
from torchattr.show.grid import grid as grid
from torchattr.show.html import figure as figure
from torchattr.show.html import image_tag as image_tag
from torchattr.show.overlay import overlay as overlay
from torchattr.show.overlay import resize_map as resize_map
from torchattr.show.plot import plot as plot
from torchattr.show.regions import box_from_map as box_from_map
from torchattr.show.regions import largest_component as largest_component
from torchattr.show.scaling import deprocess_image as deprocess_image
from torchattr.show.scaling import image_normalization as image_normalization
from torchattr.show.scaling import rescale as rescale
from torchattr.show.signed import signed_panels as signed_panels
from torchattr.show.styles import STYLES as STYLES
from torchattr.show.styles import Style as Style
from torchattr.show.styles import style_of as style_of
from torchattr.show.styles import title_of as title_of
