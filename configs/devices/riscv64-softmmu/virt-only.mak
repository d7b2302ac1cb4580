# SPDX-License-Identifier: GPL-2.0-or-later
#
# The machine "virt" alone: the other boards only cost time to build.

CONFIG_MICROBLAZE_V=n
CONFIG_MICROCHIP_PFSOC=n
CONFIG_OPENTITAN=n
CONFIG_SHAKTI_C=n
CONFIG_SIFIVE_E=n
CONFIG_SIFIVE_U=n
CONFIG_SPIKE=n
